"""What a shared circuit keeps, for how long, and under which hooks and checkpoints."""

import copy
import gc
import weakref
from typing import Any

import pytest
import torch
from tests.adapters.conftest import Architecture, Wrap
from tests.adapters.qaa.shared_attention import QKV, attention, counted, gradients, unshared
from tests.quantum.kernels.native_cases import needs_compiler
from torch import Tensor
from torch.utils.checkpoint import checkpoint


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
@pytest.mark.parametrize("asked", [QKV, QKV[:2]])
def test_nothing_is_kept_after_use(mode: Any, asked: list[str]) -> None:
    model = attention()
    with mode():
        x = torch.tanh(torch.randn(20, 6, requires_grad=True))
        outputs = [getattr(model, name)(x) for name in asked]
        if mode is torch.enable_grad:
            torch.stack(outputs).sum().backward()
    gone = weakref.ref(x)
    del x, outputs
    assert gone() is None, gc.get_referrers(gone())
    assert model.q_proj.qaa_shared["default"].circuit._slots.slot.kept is None


def test_the_graph_goes_with_the_outputs() -> None:
    model = attention()
    x = torch.tanh(torch.randn(2, 6, requires_grad=True))
    y = model.q_proj(x) + model.k_proj(x) + model.v_proj(x)
    gone = weakref.ref(x)
    del x, y
    assert gone() is None


def stop(*_: object) -> None:
    raise MemoryError


@pytest.mark.parametrize("checkpointed", ["no", "reentrant", "non-reentrant"])
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("trains", [True, False])
@pytest.mark.parametrize("stopped", ["q_proj", "k_proj", "v_proj"])
def test_a_pass_that_ends_early_keeps_nothing(stopped: str, trains: bool, checkpointed: str) -> None:
    model = attention().requires_grad_(trains)
    inputs: list[weakref.ref[Tensor]] = []
    model.q_proj.register_forward_pre_hook(lambda _, arguments: inputs.append(weakref.ref(arguments[0])))
    getattr(model, stopped).base_layer.register_forward_pre_hook(stop)
    x = torch.randn(2, 6, requires_grad=trains)
    with pytest.raises(MemoryError):
        if checkpointed == "no":
            model(x)
        else:
            checkpoint(model, x, use_reentrant=checkpointed == "reentrant")
    gc.collect()
    assert len(inputs) == 1
    assert inputs[0]() is None
    assert model.q_proj.qaa_shared["default"].circuit._slots.slot.kept is None


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_recomputation_that_ends_early_keeps_nothing(reentrant: bool) -> None:
    model = attention()
    inputs: list[weakref.ref[Tensor]] = []
    model.q_proj.register_forward_pre_hook(lambda _, arguments: inputs.append(weakref.ref(arguments[0])))
    y: Any = checkpoint(model, torch.randn(2, 6, requires_grad=True), use_reentrant=reentrant)
    model.v_proj.register_forward_pre_hook(stop)
    with pytest.raises(MemoryError):
        y.sum().backward()
    del y
    gc.collect()
    assert len(inputs) == 2
    assert [reference() for reference in inputs] == [None, None]
    assert model.q_proj.qaa_shared["default"].circuit._slots.slot.kept is None


@pytest.mark.parametrize("trains", [True, False])
def test_a_checkpointed_input_is_not_kept_by_the_hooks_of_its_region(trains: bool) -> None:
    model = attention().requires_grad_(trains)
    h = torch.randn(2, 6)
    y: Any = checkpoint(model.q_proj, h, use_reentrant=False)
    gone = weakref.ref(h)
    del h, y
    gc.collect()
    assert gone() is None
    assert model.q_proj.qaa_shared["default"].circuit._slots.slot.kept is None


def test_hooks_that_cannot_be_referred_to_weakly() -> None:
    class Pack:
        __slots__ = ()

        def __call__(self, tensor: Tensor) -> Tensor:
            return tensor

    model = attention().double()
    x = torch.randn(5, 6, dtype=torch.float64)
    expected = gradients(model, x)
    with torch.autograd.graph.saved_tensors_hooks(Pack(), lambda tensor: tensor):
        found = gradients(model, x)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


@pytest.mark.parametrize("reentrant", [True, False, None])
def test_a_pass_computes_once_with_and_without_checkpoints(
    reentrant: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = attention()
    # A few rows without gradients would each be computed by one plain call.
    x = torch.randn(20, 6, requires_grad=True)
    with counted(monkeypatch) as inputs:
        y: Any = model(x) if reentrant is None else checkpoint(model, x, use_reentrant=reentrant)
        assert len(inputs) == 1
        y.sum().backward()
    # The recomputation computes once more.
    assert len(inputs) == (1 if reentrant is None else 2)


def test_a_model_is_freed_without_the_garbage_collector(
    llama: Architecture, wrap: Wrap, tokens: Tensor
) -> None:
    model: Any = wrap("qaa", llama, target_modules=QKV, share_circuit=True)
    model(tokens)
    with torch.no_grad():
        model(tokens)
        # A circuit that still waits for two modules while its input lives on.
        h = torch.randn(1, 24)
        model.base_model.model.model.layers[0].self_attn.q_proj(h)
    gone = [weakref.ref(parameter) for parameter in model.parameters()]
    gc.collect()
    gc.disable()
    try:
        del model
        assert [reference() for reference in gone if reference() is not None] == []
    finally:
        gc.enable()


def test_a_layer_alone_keeps_the_angles_it_uses() -> None:
    model = attention()
    x = torch.randn(2, 6)
    k_proj, copied = model.k_proj, copy.deepcopy(model.k_proj)
    before = k_proj(x)
    with torch.no_grad():
        model.q_proj.qaa_angles["default"].add_(1)
    changed = model.k_proj(x)
    assert not torch.equal(changed, before)
    del model
    torch.testing.assert_close(k_proj(x), changed)
    torch.testing.assert_close(copied(x), before)


@needs_compiler
def test_a_token_takes_one_plain_call_in_each_module(monkeypatch: pytest.MonkeyPatch) -> None:
    model = attention()
    token = torch.randn(1, 1, 6)
    expected = unshared(model)(token).detach()
    with torch.no_grad(), counted(monkeypatch) as inputs:
        torch.testing.assert_close(model(token), expected)
        assert not inputs
        torch.testing.assert_close(model(token.expand(1, 20, 6)), expected.expand(1, 20, 4))
        assert len(inputs) == 1
