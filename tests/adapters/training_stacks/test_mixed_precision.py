"""Autocast in half precisions: float32 adapters, gradients through a scaler, and steps it leaves out."""

from typing import Any

import pytest
import torch
from tests.adapters.training_stacks.training import batches, build_model, build_optimizer, sora_step, trained

METHODS = ("qaa", "qaa-shared", "sora", "control")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", METHODS)
def test_autocast_with_a_gradient_scaler(method: str, dtype: torch.dtype) -> None:
    exact, model = build_model(method), build_model(method)
    plain, optimizer = build_optimizer(exact, method), build_optimizer(model, method)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12, growth_interval=2)
    taken = 0
    for number, rows in enumerate(batches()):
        before = trained(model)
        loss = exact(input_ids=rows, labels=rows).loss
        with torch.autocast("cpu", dtype=dtype):
            rounded = model(input_ids=rows, labels=rows).loss
        assert float(rounded.detach()) == pytest.approx(float(loss.detach()), rel=0.05)
        scaler.scale(rounded).backward()
        overflow = number == 1
        if overflow:
            # What a loss that is scaled too far leaves, in one parameter of many.
            next(p for p in model.parameters() if p.grad is not None).grad.view(-1)[0] = torch.inf
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], 1e3)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        after = trained(model)
        assert all(torch.equal(after[name], value) for name, value in before.items()) == overflow
        if not overflow:
            taken += 1
            loss.backward()
            plain.step()
        plain.zero_grad()
    assert taken == 3
    assert scaler.get_scale() == 2.0**12
    assert sora_step(optimizer) == (3 if method.startswith("sora") else None)
    assert {value.dtype for value in trained(model).values()} == {torch.float32}
    for name, value in trained(model).items():
        assert float((value - trained(exact)[name]).abs().mean()) < 0.02, name


@pytest.mark.parametrize("method", METHODS)
def test_the_readouts_are_as_exact_under_autocast_as_the_input_is(method: str) -> None:
    """The branch takes the input as it comes, and computes in float32: rounding it would cost 3 digits."""
    model: Any = build_model(method)
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    x = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        exact = layer.branch(x, "default")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = layer.branch(x, "default")
    error = float((found.float() - exact).abs().max() / exact.abs().max())
    assert (error < 1e-5) if method.startswith("qaa") else (error < 0.02)
