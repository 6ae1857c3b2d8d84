"""Modules that share a circuit: its formula, computed once, saved and counted once."""

import copy
import pickle
import threading
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from tests.adapters.conftest import Architecture, Wrap
from tests.adapters.qaa.shared_attention import (
    QKV,
    Attention,
    attention,
    counted,
    gradients,
    layers_of,
    unshared,
)
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from amplitune import QAAConfig, count_parameters
from amplitune.adapters.qaa.stored_circuit import circuits_of, stored_circuits
from amplitune.errors import ConfigError
from amplitune.quantum import measured


def test_the_first_module_owns_the_angles(llama: Architecture, wrap: Wrap) -> None:
    targets = [*QKV, "o_proj", "gate_proj", "up_proj"]
    model: Any = wrap("qaa", llama, target_modules=targets, share_circuit=True)
    owners = [name for name, _ in model.named_parameters() if "qaa_angles" in name]
    assert [name.split(".")[-3] for name in owners] == ["q_proj", "o_proj", "gate_proj"] * 2
    counts = count_parameters(model)
    assert counts.angles == 2 * (5 + 5 + 5)
    own = count_parameters(wrap("qaa", llama, target_modules=targets))
    assert (own.angles, own.classical) == (2 * 6 * 5, counts.classical)
    layer: Any = model.base_model.model.model.layers[0].self_attn
    assert layer.v_proj.angles_of("default") is layer.q_proj.qaa_angles["default"]


@pytest.mark.parametrize("training", [True, False])
def test_the_values_and_gradients_are_those_of_equal_circuits(
    training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = attention().double()
    alone = unshared(model)
    x = torch.randn(5, 6, dtype=torch.float64)
    with counted(monkeypatch) as inputs, torch.set_grad_enabled(training):
        torch.testing.assert_close(model(x), alone(x), rtol=0, atol=1e-13)
    assert len(inputs) == 1
    x0, *found = gradients(model, x)
    y0, *expected = gradients(alone, x)
    torch.testing.assert_close(x0, y0, rtol=0, atol=1e-12)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    by_name = dict(
        zip([name for name, p in alone.named_parameters() if p.requires_grad], expected, strict=True)
    )
    assert len(names) == 7
    for name, gradient in zip(names, found, strict=True):
        wanted = by_name[name]
        if "angles" in name:
            wanted = torch.stack([value for key, value in by_name.items() if "angles" in key]).sum(dim=0)
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-12)


CHANGES = {
    "another tensor": lambda h: h * 1.5,
    "the same numbers elsewhere": lambda h: h.clone(),
    "cut from the graph": lambda h: h.detach(),
    "changed in place": lambda h: h.mul_(1.5),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("training", [True, False])
def test_another_input_gets_its_own_values(
    change: str, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = attention().double()
    alone = unshared(model)
    x = torch.randn(5, 6, dtype=torch.float64)
    between = CHANGES[change]
    with torch.set_grad_enabled(training), counted(monkeypatch) as inputs:
        found = model(x, between)
        torch.testing.assert_close(found, alone(x, between), rtol=0, atol=1e-13)
        assert len(inputs) == 2
        # The projections before and after the change have had their values: nothing is left behind.
        assert model(x).isfinite().all()
        assert len(inputs) == 3
    if training and change != "changed in place":
        for one, other in zip(
            gradients(model, x, between=between)[:1], gradients(alone, x, between=between)[:1], strict=True
        ):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_changed_angles_are_seen() -> None:
    model = attention()
    x = torch.randn(20, 6)
    with torch.no_grad():
        model.q_proj(x)
        model.q_proj.qaa_angles["default"].add_(0.5)
        torch.testing.assert_close(model.k_proj(x), unshared(model).k_proj(x))


def test_a_module_that_is_asked_twice_computes_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    model = attention()
    x = torch.randn(2, 6)
    with counted(monkeypatch) as inputs:
        assert torch.equal(model.q_proj(x), model.q_proj(x))
    assert len(inputs) == 2


def test_second_derivatives_go_through_the_shared_values() -> None:
    model = attention().double()
    alone = unshared(model)
    x = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    found = []
    for net in (model, alone):
        (first,) = torch.autograd.grad(net(x).square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), x)[0])
    torch.testing.assert_close(*found, rtol=0, atol=1e-11)


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_checkpoints_give_the_same_gradients(reentrant: bool, whole: bool) -> None:
    model = attention().double()
    x = torch.randn(5, 6, dtype=torch.float64)

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Tensor:
            if whole:
                y: Any = checkpoint(model, x, use_reentrant=reentrant)
                return y
            h = torch.tanh(x)
            parts: Any = [checkpoint(getattr(model, name), h, use_reentrant=reentrant) for name in QKV]
            total: Tensor = parts[0] + parts[1] * 2 + parts[2] * 3
            return total

    # Several passes: what one leaves behind must not come up in the next.
    expected = gradients(model, x)
    for _ in range(2):
        found = gradients(Checkpointed(), x)
        assert len(found) == len(expected) == 8
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    assert model.q_proj.qaa_shared["default"].circuit._slots.slot.kept is None


def test_threads_do_not_disturb_each_other() -> None:
    model = attention()
    inputs = [torch.randn(50, 6) for _ in range(4)]
    with torch.no_grad():
        expected = [model(x) for x in inputs]
    wrong: list[int] = []
    barrier = threading.Barrier(4)

    def work(index: int) -> None:
        barrier.wait()
        with torch.no_grad():
            for _ in range(50):
                if not torch.equal(model(inputs[index]), expected[index]):
                    wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_vmap_and_functional_calls() -> None:
    model = attention()
    x = torch.randn(3, 5, 6)
    with torch.no_grad():
        torch.testing.assert_close(torch.func.vmap(model)(x), model(x))
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    changed = parameters | {"q_proj.qaa_angles.default": parameters["q_proj.qaa_angles.default"] + 1}
    y = torch.func.functional_call(model, changed, (x,))
    assert not torch.allclose(y, model(x))
    model.load_state_dict(changed, strict=False)
    torch.testing.assert_close(y, model(x))


def test_torch_compile_traces_one_graph() -> None:
    model = attention()
    x = torch.randn(5, 6)
    expected = gradients(model, x)
    compiled: Any = torch.compile(model, backend="aot_eager", fullgraph=True)
    for one, other in zip(gradients(compiled, x), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))


def test_shots_are_drawn_once_for_a_shared_circuit(monkeypatch: pytest.MonkeyPatch) -> None:
    model = attention()
    x = torch.randn(2, 6)
    with torch.no_grad(), counted(monkeypatch) as inputs, measured(shots=10):
        model(x)
    assert len(inputs) == 1


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_is_independent(copied: Any, llama: Architecture, wrap: Wrap, tokens: Tensor) -> None:
    model: Any = wrap("qaa", llama, target_modules=QKV, share_circuit=True)
    before = model(tokens).logits
    other = copied(model)
    assert torch.equal(other(tokens).logits, before)
    for name, parameter in model.named_parameters():
        if "qaa_angles" in name:
            parameter.data += 1
    assert torch.equal(other(tokens).logits, before)
    assert not torch.equal(model(tokens).logits, before)


@pytest.mark.parametrize("low_cpu_mem_usage", [True, False])
def test_saved_and_loaded(
    low_cpu_mem_usage: bool, llama: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Path
) -> None:
    model: Any = wrap("qaa", llama, target_modules=QKV, share_circuit=True)
    model.save_pretrained(str(tmp_path))
    loaded = peft.PeftModel.from_pretrained(
        llama.model(), str(tmp_path), low_cpu_mem_usage=low_cpu_mem_usage
    ).eval()
    assert torch.equal(loaded(tokens).logits, model(tokens).logits)
    of_model, of_file = circuits_of(model), stored_circuits(tmp_path)
    assert sorted(of_model) == sorted(of_file)
    assert len(of_file) == 6
    for name, circuit in of_file.items():
        assert torch.equal(circuit.angles, of_model[name].angles)
        assert torch.equal(circuit.up_proj, of_model[name].up_proj)
    with pytest.raises(ConfigError, match=r"must hold exactly the 14 tensors.*adds 4"):
        wrap("qaa", llama, target_modules=QKV).save_pretrained(str(tmp_path / "unshared"))
        config = peft.PeftConfig.from_pretrained(str(tmp_path))
        config.inference_mode = True
        peft.PeftModel.from_pretrained(llama.model(), str(tmp_path / "unshared"), config=config)


def test_several_adapters(llama: Architecture, wrap: Wrap, tokens: Tensor) -> None:
    model: Any = wrap("qaa", llama, target_modules=QKV, share_circuit=True)
    first = model(tokens).logits
    torch.manual_seed(5)
    model.add_adapter("own", QAAConfig(target_modules=QKV, init_weights=False))
    model.add_adapter(
        "two", QAAConfig(target_modules=["k_proj", "v_proj"], init_weights=False, share_circuit=True)
    )
    logits = {"default": first}
    for name in ("own", "two"):
        model.set_adapter(name)
        logits[name] = model(tokens).logits
    mixed = model(tokens, adapter_names=["own", "default", "two"]).logits
    for row, name in enumerate(["own", "default", "two"]):
        torch.testing.assert_close(mixed[row], logits[name][row])
    model.delete_adapter("default")
    torch.testing.assert_close(model(tokens).logits, logits["two"])
    assert all("default" not in layer.qaa_shared for layer in layers_of(model))


def test_circuits_that_differ_are_not_shared() -> None:
    model = attention(depth_pattern={"v_proj": 2})
    assert list(model.k_proj.qaa_angles) == []
    assert model.v_proj.qaa_angles["default"].shape == (1, 2, 1, 3)
    assert dict(model.v_proj.qaa_shared) == {}


def test_frozen_angles_stay_frozen_and_are_counted_once() -> None:
    net = nn.Sequential(Attention())
    config = QAAConfig(target_modules=QKV, share_circuit=True, train_angles=False)
    model: Any = peft.get_peft_model(net, config)
    assert not model.base_model.model[0].q_proj.qaa_angles["default"].requires_grad
    counts = count_parameters(model)
    assert (counts.angles, counts.frozen_angles) == (0, 3)


def test_a_wrong_value_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"`share_circuit` must be true or false, but is 'yes'"):
        QAAConfig(target_modules=QKV, share_circuit="yes")  # type: ignore[arg-type]
