"""The proximal gate step: once per optimizer step, with its schedule, across a resume."""

import copy
from typing import Any

import peft
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.adapters.conftest import Architecture, Wrap
from torch import nn

from amplitune import SoRAConfig, create_sora_optimizer, gate_sparsity
from amplitune.adapters.sora.gates import GateSparsity
from amplitune.adapters.sora.layer import SoRALayer
from amplitune.adapters.sora.proximal import reference_threshold, scheduled_lambda, soft_threshold
from amplitune.errors import ConfigError


def network(**fields: Any) -> Any:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(5, 4))
    config = SoRAConfig(r=3, target_modules=["0", "2"], init_weights=False, **fields)
    return peft.get_peft_model(net, config)


def gates(model: nn.Module) -> torch.Tensor:
    return torch.cat(
        [m.sora_gate["default"].detach().clone() for m in model.modules() if isinstance(m, SoRALayer)]
    )


def backward(model: nn.Module, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    model(torch.randn(8, 6, generator=generator)).square().mean().backward()


def gate_group(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    (group,) = [group for group in optimizer.param_groups if "sora_step" in group]
    return group


@given(st.floats(-10, 10, width=32), st.floats(0, 10, width=32))
def test_the_soft_threshold_is_the_proximal_map_of_the_l1_norm(value: float, threshold: float) -> None:
    gate = torch.tensor(value, dtype=torch.float64)
    found = float(soft_threshold(gate, threshold))
    assert found == (max(abs(value) - threshold, 0.0) if value >= 0 else -max(abs(value) - threshold, 0.0))

    def objective(candidate: float) -> float:
        return 0.5 * (candidate - value) ** 2 + threshold * abs(candidate)

    assert all(objective(found) <= objective(found + step) for step in (-1, -1e-3, 1e-3, 1))


@pytest.mark.parametrize("rule", [soft_threshold, reference_threshold])
def test_a_gate_that_diverged_stays_visible(rule: Any) -> None:
    found = rule(torch.tensor([torch.nan, torch.inf, -torch.inf]), 0.1)
    assert torch.isnan(found[0])
    assert found[1:].tolist() == [torch.inf, -torch.inf]


def in_place(gate: torch.Tensor, threshold: float) -> torch.Tensor:
    """The reference code's three statements, in their order."""
    gate = gate.clone()
    gate[gate > threshold] -= threshold
    gate[gate < -threshold] += threshold
    gate[abs(gate) < threshold] = 0.0
    return gate


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=20), st.floats(0, 1))
def test_the_reference_rule_is_the_reference_codes(values: list[float], threshold: float) -> None:
    t = torch.tensor(threshold)
    edges = torch.stack([t, 2 * t, t.nextafter(t + 1), t.nextafter(t - 1), (2 * t).nextafter(t)])
    gate = torch.cat([torch.tensor(values), edges, -edges, torch.zeros(1)])
    found = reference_threshold(gate, threshold)
    assert torch.equal(found, in_place(gate, threshold))
    assert torch.equal(reference_threshold(gate.double(), threshold), in_place(gate.double(), threshold))


def test_the_reference_rule_loses_gates_that_the_soft_threshold_keeps() -> None:
    gate = torch.tensor([0.25, 0.5, 0.75, 1.0, 1.25])
    gate = torch.cat([gate, -gate])
    soft, reference = soft_threshold(gate, 0.5), reference_threshold(gate, 0.5)
    assert soft[:5].tolist() == [0.0, 0.0, 0.25, 0.5, 0.75]
    assert reference[:5].tolist() == [0.0, 0.5, 0.0, 0.5, 0.75]
    assert torch.equal(reference[5:], -reference[:5])


@pytest.mark.parametrize("as_argument", [False, True])
def test_the_reference_rule_is_chosen_by_name(as_argument: bool) -> None:
    fields: dict[str, Any] = {"threshold_rule": "reference"}
    model = network(sparse_lambda=0.3, **({} if as_argument else fields))
    optimizer = create_sora_optimizer(model, torch.optim.SGD, lr=0.0, **(fields if as_argument else {}))
    before = gates(model)
    backward(model)
    optimizer.step()
    assert torch.equal(gates(model), in_place(before, 0.3))
    assert not torch.equal(gates(model), soft_threshold(before, 0.3))


@pytest.mark.parametrize(("threshold", "factor"), [("lambda", 1.0), ("lr*lambda", 0.05)])
def test_a_step_is_the_optimizers_and_then_the_threshold(threshold: Any, factor: float) -> None:
    model = network(sparse_lambda=0.1, threshold=threshold)
    twin = copy.deepcopy(model)
    optimizer = create_sora_optimizer(model, torch.optim.SGD, lr=0.05)
    plain = torch.optim.SGD([p for p in twin.parameters() if p.requires_grad], lr=0.05)
    backward(model)
    backward(twin)
    optimizer.step()
    plain.step()
    assert torch.equal(gates(model), soft_threshold(gates(twin), 0.1 * factor))
    for (name, parameter), (_, expected) in zip(
        model.named_parameters(), twin.named_parameters(), strict=True
    ):
        assert "sora_gate" in name or torch.equal(parameter, expected)


def test_gradient_accumulation_shrinks_once() -> None:
    model = network(sparse_lambda=0.1)
    optimizer = create_sora_optimizer(model, torch.optim.SGD, lr=0.0)
    before = gates(model)
    for seed in range(4):
        backward(model, seed)
    optimizer.step()
    assert torch.equal(gates(model), soft_threshold(before, 0.1))
    assert gate_group(optimizer)["sora_step"] == 1


def test_a_gate_without_a_gradient_is_left_alone() -> None:
    model = network(sparse_lambda=0.1)
    optimizer = create_sora_optimizer(model, lr=0.1)
    before = gates(model)
    optimizer.step()
    assert torch.equal(gates(model), before)


def test_a_step_that_a_gradient_scaler_skips_shrinks_nothing() -> None:
    model = network(sparse_lambda=0.1)
    optimizer = create_sora_optimizer(model, torch.optim.SGD, lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    before = gates(model)
    scaler.scale(model(torch.full((1, 6), torch.inf)).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert torch.equal(gates(model), before)
    optimizer.zero_grad()
    scaler.scale(model(torch.ones(1, 6)).sum()).backward()
    scaler.step(optimizer)
    assert not torch.equal(gates(model), before)
    assert gate_group(optimizer)["sora_step"] == 1


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.01, 0.01, 0.01, 0.01, 0.01]),
        ("linear", [0.01, 0.0325, 0.055, 0.0775, 0.1, 0.1]),
        ("log-linear", [0.01, 0.01 * 10**0.25, 0.01 * 10**0.5, 0.01 * 10**0.75, 0.1, 0.1]),
    ],
)
def test_schedules(schedule: str, expected: list[float]) -> None:
    moving: dict[str, Any] = {} if schedule == "constant" else {"lambda_num_steps": 4, "lambda_end": 0.1}
    model = network(sparse_lambda=0.01, lambda_schedule=schedule, **moving)
    optimizer = create_sora_optimizer(model, torch.optim.SGD, lr=0.0)
    for step, value in enumerate(expected):
        before = gates(model)
        backward(model)
        optimizer.step()
        torch.testing.assert_close(gates(model), soft_threshold(before, value), atol=1e-7, rtol=0)
        end = moving.get("lambda_end"), moving.get("lambda_num_steps")
        assert scheduled_lambda(step, 0.01, schedule, end[1], end[0]) == pytest.approx(value)


@pytest.mark.parametrize("optimizer_cls", [torch.optim.SGD, torch.optim.AdamW, torch.optim.Adagrad])
def test_a_resumed_optimizer_goes_on(optimizer_cls: type[torch.optim.Optimizer]) -> None:
    fields: dict[str, Any] = {
        "sparse_lambda": 1e-3,
        "lambda_schedule": "log-linear",
        "lambda_num_steps": 6,
        "lambda_end": 0.5,
    }

    def run(model: nn.Module, optimizer: torch.optim.Optimizer, seeds: range) -> None:
        for seed in seeds:
            optimizer.zero_grad()
            backward(model, seed)
            optimizer.step()

    whole = network(**fields)
    run(whole, create_sora_optimizer(whole, optimizer_cls, lr=0.05), range(6))
    first = network(**fields)
    optimizer = create_sora_optimizer(first, optimizer_cls, lr=0.05)
    run(first, optimizer, range(3))
    saved = copy.deepcopy((first.state_dict(), optimizer.state_dict()))
    second = network(**fields)
    second.load_state_dict(saved[0])
    resumed = create_sora_optimizer(second, optimizer_cls, lr=0.05)
    resumed.load_state_dict(saved[1])
    assert gate_group(resumed)["sora_step"] == 3
    run(second, resumed, range(3, 6))
    assert torch.equal(gates(second), gates(whole))
    assert (gates(second) == 0).any()


def test_groups_and_weight_decay(bert: Architecture, wrap: Wrap) -> None:
    model = wrap("sora", bert)
    optimizer = create_sora_optimizer(model, lr=1e-3, weight_decay=0.3)
    names = {id(p): name for name, p in model.named_parameters()}
    grouped = [[names[id(p)] for p in group["params"]] for group in optimizer.param_groups]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0, 0.0]
    assert [len(group) for group in grouped] == [2 * 4 + 1, 1, 4]
    assert all("sora_gate" in name for name in grouped[2])
    assert grouped[1] == ["base_model.model.classifier.modules_to_save.default.bias"]
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name for group in grouped for name in group} == trainable


def test_arguments_override_the_config() -> None:
    model = network(sparse_lambda=0.1, lambda_schedule="linear", lambda_num_steps=5, lambda_end=0.2)
    group = gate_group(create_sora_optimizer(model, lr=1e-3, sparse_lambda=0.3, threshold="lr*lambda"))
    assert (group["sparse_lambda"], group["threshold"], group["lambda_end"]) == (0.3, "lr*lambda", 0.2)
    constant = gate_group(create_sora_optimizer(model, lr=1e-3, lambda_schedule="constant"))
    assert (constant["lambda_schedule"], constant["lambda_num_steps"], constant["lambda_end"]) == (
        "constant",
        None,
        None,
    )
    with pytest.raises(ConfigError, match="`lambda_num_steps`"):
        create_sora_optimizer(network(), lr=1e-3, lambda_schedule="linear", lambda_end=0.1)


def test_each_adapter_keeps_its_own_lambda() -> None:
    model = network(sparse_lambda=0.1)
    model.add_adapter("second", SoRAConfig(target_modules=["0"], sparse_lambda=0.2))
    model.base_model.set_adapter(["default", "second"])
    optimizer = create_sora_optimizer(model, lr=1e-3)
    found = [group["sparse_lambda"] for group in optimizer.param_groups if "sora_step" in group]
    assert found == [0.1, 0.2]


def test_a_model_without_trainable_gates_is_an_error(llama: Architecture, wrap: Wrap) -> None:
    for model in (llama.model(), wrap("qaa", llama)):
        with pytest.raises(ConfigError, match=r"must have trainable SoRA gates, but .* has none"):
            create_sora_optimizer(model, lr=1e-3)
    frozen = wrap("sora", llama)
    frozen.requires_grad_(False)
    with pytest.raises(ConfigError, match=r"only frozen ones.*is_trainable=True"):
        create_sora_optimizer(frozen, lr=1e-3)


def test_half_precision_gates_are_an_error(llama: Architecture, wrap: Wrap) -> None:
    with pytest.raises(ConfigError, match=r"must be float32 or wider, but are torch\.bfloat16"):
        create_sora_optimizer(wrap("sora", llama).to(torch.bfloat16), lr=1e-3)


def test_gates_that_are_cast_afterwards_are_an_error_before_the_step() -> None:
    """As trl's SFTTrainer casts the adapter of a quantised model."""
    model = network(sparse_lambda=3e-4)
    optimizer = create_sora_optimizer(model, torch.optim.SGD, lr=0.1)
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16()
    model(torch.randn(8, 6, dtype=torch.bfloat16)).square().mean().backward()
    before = gates(model)
    with pytest.raises(ConfigError, match=r"must be float32 or wider, but are torch\.bfloat16.*SFTTrainer"):
        optimizer.step()
    assert torch.equal(gates(model), before)


def test_gate_sparsity() -> None:
    model = network()
    first, second = (m for m in model.modules() if isinstance(m, SoRALayer))
    with torch.no_grad():
        first.sora_gate["default"][1] = 0
        second.sora_gate["default"].zero_()
    found = gate_sparsity(model)
    assert found == GateSparsity({"base_model.model.0": 2, "base_model.model.2": 0}, 6)
    assert found.remaining == 2
    assert found.sparsity == pytest.approx(4 / 6)
    with pytest.raises(ConfigError, match=r"has none named 'defualt'\. Did you mean 'default'"):
        gate_sparsity(model, "defualt")
    with pytest.raises(ConfigError, match="Wrap the model with a SoRAConfig first"):
        gate_sparsity(nn.Linear(2, 2))


def test_training_makes_gates_zero(llama: Architecture, wrap: Wrap, tokens: torch.Tensor) -> None:
    model = wrap("sora", llama, init_weights=True).train()
    optimizer = create_sora_optimizer(model, lr=1e-2, sparse_lambda=0.05)
    shares = []
    for _ in range(30):
        optimizer.zero_grad()
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        shares.append(gate_sparsity(model).sparsity)
    assert shares[0] < 0.2 < 0.5 < shares[-1]
