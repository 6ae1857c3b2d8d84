"""What training changed, against changes that were planted."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.study.measures.trained_models import Trained, trained
from tests.study.tiny_models import HIDDEN, LAYERS

from amplitune.study.measures import learned_change
from amplitune.study.measures.learned_change import MEDIANS, measure_modules, medians

Q, V = "model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj"
CIRCUIT = {"input_entanglement", "circuit_entanglement", "input_fidelity", "readout_variance"}


def measure(run: Trained) -> dict[str, dict[str, Any]]:
    found = measure_modules(run.model, run.load, run.tokenizer, run.rows, run.spec)
    return {record["module"]: record for record in found}


@pytest.mark.parametrize("model", ["llama", "gpt2", "bert"])
@pytest.mark.parametrize("method", ["full", "lora", "prefix", "sora", "qaa"])
def test_every_method_and_architecture(tiny: Path, method: str, model: str) -> None:
    run = trained(tiny, method, model)
    run.model.train()
    torch.manual_seed(7)
    state = torch.get_rng_state()
    found = measure(run)
    assert len(found) == LAYERS * (2 if model == "gpt2" else 3)
    changed = 0
    for record in found.values():
        assert record["tokens"] >= 4 * HIDDEN
        if record["effective_rank"] is None:
            assert record["cka"] == pytest.approx(1, abs=1e-6)
            continue
        changed += 1
        assert 1 <= record["stable_rank"] <= record["effective_rank"] <= min(record["tokens"], 3 * HIDDEN)
        assert record["relative_change"] > 0
        assert 0 <= record["constant_share"] <= 1
        assert record["cka"] < 1
        assert record["linear_share"] < 1
    assert changed >= len(found) - 2
    wrapped = [record for record in found.values() if record.keys() >= CIRCUIT]
    assert len(wrapped) == (len(found) - LAYERS if method == "qaa" else 0)
    assert run.model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in run.model.parameters())
    assert not any(module._forward_hooks for module in run.model.modules())
    assert measure(run) == found


def test_a_lora_of_orthogonal_factors_has_its_rank_and_is_linear(tiny: Path) -> None:
    rank = 3
    config = {"target_modules": ["layers.0.self_attn.q_proj"], "r": rank, "lora_alpha": rank}
    run = trained(tiny, {"method": "lora", "config": config}, scale=0)
    layer = run.model.get_base_model().get_submodule(Q)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in (layer.lora_A["default"].weight, layer.lora_B["default"].weight):
            torch.nn.init.orthogonal_(weight, generator=generator)
    # Tokens in random order, each the first of its sequence: the inputs of layer 0 are then their embeddings.
    ids = torch.randperm(250, generator=generator).tolist()
    run = Trained(
        run.model,
        run.load,
        run.tokenizer,
        [{"input_ids": ids[i : i + 4]} for i in range(0, 248, 4)],
        run.spec,
    )
    found = measure(run)
    q = found[Q]
    assert q["linear_share"] == pytest.approx(1, abs=1e-6)
    # Inputs are about isotropic, so the three directions are about equal: never more than three.
    assert 2.5 < q["effective_rank"] <= rank + 1e-4
    assert 2 < q["stable_rank"] <= rank + 1e-4
    # No other projection reads what the first layer's q_proj has changed.
    assert (found[V]["effective_rank"], found[V]["stable_rank"]) == (None, None)
    assert (found[V]["relative_change"], found[V]["linear_share"]) == (0, None)
    assert found[V]["cka"] == pytest.approx(1, abs=1e-12)
    # Behind the attention's softmax the change is a function of other tokens too.
    assert found["model.layers.1"]["linear_share"] < 0.99


def test_qaa_is_less_linear_than_lora(tiny: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 250, (60, 4), generator=generator).tolist()
    shares = {}
    for method in ("lora", "qaa"):
        run = trained(tiny, {"method": method, "config": {"target_modules": ["layers.0.self_attn.q_proj"]}})
        rows = [{"input_ids": row} for row in ids]
        shares[method] = measure(Trained(run.model, run.load, run.tokenizer, rows, run.spec))[Q][
            "linear_share"
        ]
    assert shares["lora"] > 0.999
    assert shares["qaa"] < 0.9


def test_measuring_against_loaded_weights_is_the_same(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(tiny, "lora")
    expected = measure(run)
    monkeypatch.setattr("amplitune.study.measures.untouched.keeps_base", lambda _: False)
    found = measure(run)
    assert list(found) == list(expected)
    for name, record in expected.items():
        assert found[name] == pytest.approx(record)


def test_measuring_in_turns_is_the_same(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(tiny, "full")
    expected = measure(run)
    loads: list[int] = []

    def load() -> Any:
        loads.append(1)
        return run.load()

    monkeypatch.setattr(learned_change, "MOST_BYTES", 1)
    found = measure(Trained(run.model, load, run.tokenizer, run.rows, run.spec))
    assert found == expected
    assert len(loads) == 1


def test_a_constant_change_has_a_share_of_its_own(tiny: Path) -> None:
    config = {"target_modules": ["layers.0.self_attn.q_proj"]}
    run = trained(tiny, {"method": "qaa", "config": config}, scale=0)
    with torch.no_grad():
        run.model.get_base_model().get_submodule(Q).qaa_up_proj_bias["default"].fill_(0.5)
    q = measure(run)[Q]
    assert q["constant_share"] == pytest.approx(1)
    assert q["effective_rank"] == pytest.approx(1, abs=1e-3)
    assert q["linear_share"] is None


def test_few_tokens_and_none(tiny: Path) -> None:
    run = trained(tiny, "lora")
    few = Trained(run.model, run.load, run.tokenizer, [{"input_ids": [3, 4, 5]}], run.spec)
    record = measure(few)[Q]
    assert (record["cka"], record["linear_share"]) == (None, None)
    assert record["effective_rank"] <= 3
    assert measure_modules(run.model, run.load, run.tokenizer, [], run.spec) == []


def test_the_untouched_model_has_no_records(tiny: Path) -> None:
    assert measure(trained(tiny, "base")) == {}


def test_medians() -> None:
    records = [
        {"module": "a", "effective_rank": 3.0, "stable_rank": None, "cka": 0.5, "linear_share": 0.1},
        {"module": "b", "effective_rank": 9.0, "stable_rank": None, "cka": 0.7, "linear_share": None},
        {"module": "c", "effective_rank": 4.0, "stable_rank": None, "cka": 0.9, "linear_share": 0.3},
    ]
    found = medians(records)
    assert tuple(found) == MEDIANS
    assert (found["effective_rank"], found["cka"], found["stable_rank"]) == (4.0, 0.7, None)
    assert math.isclose(found["linear_share"] or 0, 0.2)
    assert set(medians([]).values()) == {None}
