"""The proximal step under optimizers of several makes: once per step taken, never for one left out."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.adapters.training_stacks.networks import gate_group, gates, network, rows
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    get_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from transformers.optimization import Adafactor

from amplitune import create_sora_optimizer
from amplitune.adapters.sora.proximal import soft_threshold
from amplitune.errors import ConfigError

LAMBDA = 0.02


class Inheriting(torch.optim.AdamW):
    """Calls the step that it inherits, around which torch puts the hooks as well."""

    def step(self, closure: Any = None) -> Any:
        return super().step(closure)


OPTIMIZERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "AdamW": (torch.optim.AdamW, {}),
    "foreach AdamW": (torch.optim.AdamW, {"foreach": True}),
    "fused AdamW": (torch.optim.AdamW, {"fused": True}),
    "SGD with momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "fused SGD": (torch.optim.SGD, {"fused": True}),
    "foreach RMSprop": (torch.optim.RMSprop, {"foreach": True}),
    "torch's Adafactor": (torch.optim.Adafactor, {}),
    "transformers' Adafactor": (Adafactor, {"relative_step": False, "scale_parameter": False}),
    "a class that calls the step it inherits": (Inheriting, {}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_step_is_the_optimizers_and_then_the_threshold(name: str) -> None:
    # An AdamW made before is what puts hooks around the step that `Inheriting` calls.
    torch.optim.AdamW(nn.Linear(1, 1).parameters())
    optimizer_cls, fields = OPTIMIZERS[name]
    model = network(sparse_lambda=LAMBDA)
    twin = copy.deepcopy(model)
    optimizer = create_sora_optimizer(model, optimizer_cls, lr=0.01, **fields)
    plain = create_sora_optimizer(twin, optimizer_cls, lr=0.01, sparse_lambda=0.0, **fields)
    for seed in range(3):
        # The same weights and the same state of both before each step, so that only the threshold differs.
        twin.load_state_dict(model.state_dict())
        for each, stepped in ((model, optimizer), (twin, plain)):
            stepped.zero_grad()
            each(rows(seed)).square().mean().backward()
            stepped.step()
        assert torch.equal(gates(model), soft_threshold(gates(twin), LAMBDA))
        assert not torch.equal(gates(model), gates(twin))
    assert gate_group(optimizer)["sora_step"] == 3


@pytest.mark.parametrize("fields", [{}, {"fused": True}], ids=["plain", "fused"])
@pytest.mark.parametrize("unscaled", [False, True], ids=["scaled", "unscaled"])
def test_a_step_that_a_gradient_scaler_leaves_out_shrinks_nothing(
    fields: dict[str, Any], unscaled: bool
) -> None:
    """A fused optimizer is called all the same, and looks at `found_inf` by itself."""
    model = network(sparse_lambda=LAMBDA)
    optimizer = create_sora_optimizer(model, lr=0.01, **fields)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for seed, factor in enumerate((1.0, torch.inf, 1.0)):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        optimizer.zero_grad()
        scaler.scale(model(rows(seed) * factor).square().mean()).backward()
        if unscaled:
            # As gradient clipping does.
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        same = all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert same == (factor == torch.inf)
    assert gate_group(optimizer)["sora_step"] == 2
    assert scaler.get_scale() == 2.0


def test_a_schedule_of_the_learning_rate_moves_the_threshold_with_it() -> None:
    model = network(sparse_lambda=2.0, threshold="lr*lambda")
    twin = copy.deepcopy(model)
    optimizer = create_sora_optimizer(model, torch.optim.SGD, lr=0.04)
    plain = create_sora_optimizer(twin, torch.optim.SGD, lr=0.04, sparse_lambda=0.0)
    schedulers = [torch.optim.lr_scheduler.ExponentialLR(each, 0.5) for each in (optimizer, plain)]
    for seed, rate in enumerate((0.04, 0.02, 0.01)):
        twin.load_state_dict(model.state_dict())
        for each, stepped, scheduler in zip((model, twin), (optimizer, plain), schedulers, strict=True):
            stepped.zero_grad()
            each(rows(seed)).square().mean().backward()
            stepped.step()
            scheduler.step()
        torch.testing.assert_close(gates(model), soft_threshold(gates(twin), 2.0 * rate), atol=1e-7, rtol=0)


def test_the_state_is_made_for_loading_without_a_proximal_step() -> None:
    """torch.distributed.checkpoint takes a step for it, with the weights loaded already."""
    model = network(sparse_lambda=LAMBDA, lambda_schedule="linear", lambda_num_steps=4, lambda_end=0.2)
    optimizer = create_sora_optimizer(model, lr=0.01)
    model(rows(0)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    saved = copy.deepcopy(get_state_dict(model, optimizer))
    fresh = network(lambda_schedule="linear", lambda_num_steps=4, lambda_end=0.2)
    loaded = create_sora_optimizer(fresh, lr=0.01)
    # In accelerate's order.
    set_model_state_dict(fresh, saved[0])
    set_optimizer_state_dict(fresh, loaded, saved[1])
    assert torch.equal(gates(fresh), gates(model))
    assert gate_group(loaded) | {"params": []} == gate_group(optimizer) | {"params": []}
    assert gate_group(loaded)["sora_step"] == 1


def test_the_first_step_of_a_warm_up_shrinks() -> None:
    """At a learning rate of 0, and with gates whose gradient is 0 as long as B is."""
    model = network(sparse_lambda=LAMBDA)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "sora_B" in name:
                parameter.zero_()
    optimizer = create_sora_optimizer(model, lr=0.0)
    before = gates(model)
    model(rows(0)).square().mean().backward()
    optimizer.step()
    assert torch.equal(gates(model), soft_threshold(before, LAMBDA))


def test_an_optimizer_that_steps_one_group_after_the_other_counts_one_step() -> None:
    """As DeepSpeed's ZeRO does: stage 3 empties the groups that wait, stage 2 takes them out."""
    for emptied in (True, False):
        model = network(sparse_lambda=LAMBDA, lambda_schedule="linear", lambda_num_steps=2, lambda_end=0.2)
        twin = copy.deepcopy(model)
        optimizer, whole = (create_sora_optimizer(each, torch.optim.SGD, lr=0.01) for each in (model, twin))
        groups = optimizer.param_groups
        assert len(groups) == 2
        for seed in range(3):
            for each, stepped in ((model, optimizer), (twin, whole)):
                stepped.zero_grad()
                each(rows(seed)).square().mean().backward()
            whole.step()
            held = [group["params"] for group in groups]
            for index, group in enumerate(groups):
                if emptied:
                    for other, parameters in zip(groups, held, strict=True):
                        other["params"] = parameters if other is group else []
                else:
                    optimizer.param_groups = [groups[index]]
                optimizer.step()
            for group, parameters in zip(groups, held, strict=True):
                group["params"] = parameters
            optimizer.param_groups = groups
            assert torch.equal(gates(model), gates(twin))
        assert gate_group(optimizer)["sora_step"] == 3


def test_a_compiled_step_shrinks_too() -> None:
    model = network(sparse_lambda=LAMBDA, lambda_schedule="linear", lambda_num_steps=3, lambda_end=0.2)
    twin = copy.deepcopy(model)
    optimizer, plain = (create_sora_optimizer(each, torch.optim.SGD, lr=0.01) for each in (model, twin))
    compiled: Callable[[], Any] = torch.compile(optimizer.step, backend="eager")
    for seed in range(4):
        for each, stepped, step in ((model, optimizer, compiled), (twin, plain, plain.step)):
            stepped.zero_grad()
            each(rows(seed)).square().mean().backward()
            step()
        torch.testing.assert_close(gates(model), gates(twin))
    assert gate_group(optimizer)["sora_step"] == 4


def test_an_optimizer_that_runs_no_hooks_is_an_error() -> None:
    class Hookless(torch.optim.Optimizer):
        def __init__(self, groups: list[dict[str, Any]], lr: float) -> None:
            self.param_groups = groups

        def step(self, closure: Any = None) -> None:  # type: ignore[override, unused-ignore]
            pass

    with pytest.raises(ConfigError, match=r"whose step runs hooks.*Hookless does not"):
        create_sora_optimizer(network(), Hookless, lr=0.1)


def test_eight_bit_adam() -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    model = network(sparse_lambda=LAMBDA)
    twin = copy.deepcopy(model)
    optimizer = create_sora_optimizer(model, bitsandbytes.optim.AdamW8bit, lr=0.01)
    plain = create_sora_optimizer(twin, bitsandbytes.optim.AdamW8bit, lr=0.01, sparse_lambda=0.0)
    for seed in range(2):
        twin.load_state_dict(model.state_dict())
        for each, stepped in ((model, optimizer), (twin, plain)):
            stepped.zero_grad()
            each(rows(seed)).square().mean().backward()
            stepped.step()
        assert torch.equal(gates(model), soft_threshold(gates(twin), LAMBDA))
    assert gate_group(optimizer)["sora_step"] == 2
