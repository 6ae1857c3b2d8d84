"""The untouched model against the pretrained one, for adapters of many kinds."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.study.measures.trained_models import trained

from amplitune.study.measures.untouched import untouched

SWITCHED_OFF: list[tuple[str | dict[str, Any], str]] = [
    ("base", "llama"),
    ("lora", "llama"),
    ("sora", "llama"),
    ("qaa", "gpt2"),
    ("ia3", "llama"),
    ("ln_tuning", "llama"),
    ("prefix", "llama"),
    ("prompt_tuning", "llama"),
    ("adaption_prompt", "llama"),
    ("prefix", "bert"),
    ("lora", "bert"),
]
LOADED: list[tuple[str | dict[str, Any], str]] = [
    ("full", "llama"),
    ("full", "bert"),
    ({"method": "lora", "config": {"bias": "all"}}, "gpt2"),
    ({"method": "lora", "config": {"init_lora_weights": "pissa"}}, "llama"),
]
NEEDED: dict[str, dict[str, Any]] = {
    "ia3": {"target_modules": ["k_proj", "v_proj"], "feedforward_modules": []},
    "ln_tuning": {"target_modules": ["input_layernorm"]},
    "prompt_tuning": {"num_virtual_tokens": 5},
    "adaption_prompt": {"adapter_len": 4, "adapter_layers": 2},
}


@pytest.mark.parametrize(("method", "model"), SWITCHED_OFF + LOADED)
def test_it_is_the_pretrained_model(tiny: Path, method: str | dict[str, Any], model: str) -> None:
    if isinstance(method, str) and method in NEEDED:
        method = {"method": method, "config": NEEDED[method]}
    run = trained(tiny, method, model)
    run.model.eval()
    ids = torch.tensor([run.rows[0]["input_ids"]])
    pretrained = run.load().eval()

    def states(of: Any) -> torch.Tensor:
        hidden: torch.Tensor = of(input_ids=ids, output_hidden_states=True).hidden_states[-1]
        return hidden

    loads: list[int] = []

    def load() -> Any:
        loads.append(1)
        torch.rand(3)
        return run.load()

    torch.manual_seed(5)
    expected_draw = torch.rand(1)
    torch.manual_seed(5)
    with torch.no_grad():
        changed = run.model(input_ids=ids).logits
        with untouched(run.model, load) as base:
            found = states(base)
        assert torch.equal(torch.rand(1), expected_draw)
        # Afterwards the model is the trained one again.
        assert torch.equal(run.model(input_ids=ids).logits, changed)
        torch.testing.assert_close(found, states(pretrained))
    names = [entry if isinstance(entry, str) else entry["method"] for entry, _ in SWITCHED_OFF]
    switched_off = run.spec.method.method in names and not {"bias", "init_lora_weights"} & set(
        run.spec.method.config
    )
    expected = 0 if switched_off and run.spec.method.method != "base" else 1
    assert len(loads) == expected
