"""Removing zero gates while training goes on: the same output, the same next step, fewer parameters."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from tests.adapters.conftest import Architecture, Wrap
from tests.adapters.sora.test_prune import MIXED, keep_ranks
from tests.adapters.test_lifecycle import logits
from torch import Tensor, nn

from amplitune import SoRAConfig, create_sora_optimizer, gate_sparsity, prune_gates, prune_to_lora
from amplitune.adapters import gate_penalty
from amplitune.adapters.sora.layer import SoRALayer
from amplitune.errors import ConfigError

NAMES = SoRALayer.adapter_layer_names
RANK_DIMENSION = {"sora_A": 0, "sora_B": 1, "sora_gate": 0}


def layers(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, SoRALayer)]


def train(model: nn.Module, optimizer: torch.optim.Optimizer, tokens: Tensor) -> None:
    model.train()
    optimizer.zero_grad()
    model(input_ids=tokens, labels=tokens).loss.backward()
    optimizer.step()


def test_the_output_stays(architecture: Architecture, wrap: Wrap, tokens: Tensor) -> None:
    ranks = MIXED[architecture.name]
    model: Any = wrap("sora", architecture, r=4, lora_alpha=11)
    keep_ranks(model, ranks)
    before, sparsity, penalty = logits(model, tokens), gate_sparsity(model), gate_penalty(model)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    rows = sum(layer.in_features + layer.out_features + 1 for layer in layers(model))
    assert prune_gates(model) == sum(4 - max(rank, 1) for rank in ranks)
    torch.testing.assert_close(logits(model, tokens), before, atol=2e-6, rtol=0)
    assert [len(layer.sora_gate["default"]) for layer in layers(model)] == [max(rank, 1) for rank in ranks]
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) < trainable - rows
    # What is counted stays, since the removed gates were zero.
    assert gate_sparsity(model) == sparsity
    torch.testing.assert_close(gate_penalty(model), penalty)
    assert prune_gates(model) == 0


def test_it_saves_and_loads(architecture: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Path) -> None:
    # The patterns of the user come first in a sorted file and must not win over the ranks that are left.
    target = architecture.targets[0]
    patterns: dict[str, Any] = {"rank_pattern": {f".*{target}": 6}, "alpha_pattern": {target: 5}}
    model: Any = wrap("sora", architecture, r=4, lora_alpha=11, **patterns)
    keep_ranks(model, MIXED[architecture.name])
    prune_gates(model)
    expected, sparsity = logits(model, tokens), gate_sparsity(model)
    model.save_pretrained(str(tmp_path))
    loaded = PeftModel.from_pretrained(architecture.model(), str(tmp_path))
    assert torch.equal(logits(loaded, tokens), expected)
    assert gate_sparsity(loaded) == sparsity
    assert [layer.sora_scaling for layer in layers(loaded)] == [
        pytest.approx(layer.sora_scaling) for layer in layers(model)
    ]
    lora = prune_to_lora(loaded)
    torch.testing.assert_close(logits(lora, tokens), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("optimizer_cls", "options"),
    [
        (torch.optim.AdamW, {"amsgrad": True}),
        (torch.optim.SGD, {"momentum": 0.9}),
        (torch.optim.Adagrad, {}),
        (torch.optim.RMSprop, {"centered": True}),
        (torch.optim.NAdam, {}),
    ],
    ids=["AdamW", "SGD", "Adagrad", "RMSprop", "NAdam"],
)
def test_the_next_step_is_that_of_the_whole_adapter(
    llama: Architecture,
    wrap: Wrap,
    tokens: Tensor,
    optimizer_cls: type[torch.optim.Optimizer],
    options: dict[str, Any],
) -> None:
    model = wrap("sora", llama, r=6)
    optimizer = create_sora_optimizer(model, optimizer_cls, lr=1e-2, sparse_lambda=0.2, **options)
    for _ in range(3):
        train(model, optimizer, tokens)
    assert 0 < gate_sparsity(model).sparsity < 1
    whole = copy.deepcopy(model)
    twin = create_sora_optimizer(whole, optimizer_cls, lr=1e-2, sparse_lambda=0.2, **options)
    twin.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    kept = [layer.sora_gate["default"].ne(0).nonzero().flatten() for layer in layers(model)]
    assert all(len(indices) for indices in kept)

    assert prune_gates(model, optimizer) > 0
    train(model, optimizer, tokens)
    train(whole, twin, tokens)
    for layer, other, indices in zip(layers(model), layers(whole), kept, strict=True):
        for name in NAMES:
            expected = getattr(other, name)["default"].index_select(RANK_DIMENSION[name], indices)
            torch.testing.assert_close(getattr(layer, name)["default"], expected, atol=1e-6, rtol=1e-5)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            moments = [value for value in optimizer.state[parameter].values() if torch.is_tensor(value)]
            assert all(value.numel() == 1 or value.shape == parameter.shape for value in moments)


class Mixed(nn.Module):
    """An embedding, a convolution with groups and one without, of words to classes."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.grouped = nn.Conv1d(8, 4, 3, groups=2)
        self.plain = nn.Conv1d(4, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.plain(self.grouped(self.embed(x).transpose(1, 2)).tanh())


def test_other_kinds_of_layers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    base = Mixed()
    config = SoRAConfig(r=6, target_modules=["embed", "grouped", "plain"], init_weights=False)
    model: Any = get_peft_model(copy.deepcopy(base), config)
    embed, grouped, plain = layers(model)
    with torch.no_grad():
        embed.sora_gate["default"][[0, 3]] = 0
        # Ranks 0 to 2 belong to the first group: it keeps one, and the second two.
        grouped.sora_gate["default"][[0, 2, 4]] = 0
        plain.sora_gate["default"].zero_()
    optimizer = create_sora_optimizer(model, lr=1e-2, sparse_lambda=0.0)
    x = torch.randint(0, 20, (3, 7))
    model(x).square().mean().backward()
    optimizer.step()
    with torch.no_grad():
        embed.sora_gate["default"][[0, 3]] = 0
        grouped.sora_gate["default"][[0, 2, 4]] = 0
        plain.sora_gate["default"].zero_()
    expected = model(x)
    kept = grouped.sora_gate["default"][[1, 3, 5]].tolist()
    moments = optimizer.state[grouped.sora_B["default"]]["exp_avg"][2:, [0, 2]].clone()

    assert prune_gates(model, optimizer) == 2 + 2 + 5
    assert [len(layer.sora_gate["default"]) for layer in (embed, grouped, plain)] == [4, 4, 1]
    assert [layer.sora_B["default"].shape[1] for layer in (embed, grouped, plain)] == [4, 2, 1]
    assert [gate for gate in grouped.sora_gate["default"].tolist() if gate] == kept
    assert torch.equal(optimizer.state[grouped.sora_B["default"]]["exp_avg"][2:], moments)
    torch.testing.assert_close(model(x), expected, atol=1e-6, rtol=0)
    model(x).square().mean().backward()
    optimizer.step()

    expected = model(x)
    model.save_pretrained(str(tmp_path))
    loaded = PeftModel.from_pretrained(base, str(tmp_path))
    assert torch.equal(loaded(x), expected)


def test_between_micro_batches_the_gradient_is_cut_too(
    llama: Architecture, wrap: Wrap, tokens: Tensor
) -> None:
    model = wrap("sora", llama, r=4)
    keep_ranks(model, [2, 3, 4, 1])
    model(input_ids=tokens, labels=tokens).loss.backward()
    layer = layers(model)[0]
    kept = layer.sora_gate["default"].ne(0)
    expected = layer.sora_B["default"].grad[:, kept].clone()
    prune_gates(model)
    assert torch.equal(layer.sora_B["default"].grad, expected)
    model(input_ids=tokens, labels=tokens).loss.backward()
    torch.testing.assert_close(layer.sora_B["default"].grad, 2 * expected)


def test_a_loss_that_is_still_at_hand_does_no_harm(llama: Architecture, wrap: Wrap, tokens: Tensor) -> None:
    model = wrap("sora", llama, r=4)
    optimizer = create_sora_optimizer(model, lr=1e-2, sparse_lambda=0.0)
    keep_ranks(model, [2, 3, 4, 1])
    first = model(input_ids=tokens, labels=tokens).loss
    first.backward()
    prune_gates(model, optimizer)
    second = model(input_ids=tokens, labels=tokens).loss
    second.backward()
    optimizer.step()
    torch.testing.assert_close(first, second)


def test_the_users_config_and_other_adapters_stay(llama: Architecture) -> None:
    config = SoRAConfig(r=4, target_modules=["q_proj"], init_weights=False)
    model: Any = get_peft_model(llama.model(), config)
    model.add_adapter("second", SoRAConfig(r=4, target_modules=["q_proj"]))
    keep_ranks(model, [2, 1])
    assert prune_gates(model) == 5
    assert (config.rank_pattern, config.alpha_pattern, config.pruned_gates) == ({}, {}, 0)
    assert model.peft_config["default"].pruned_gates == 5
    assert [layer.sora_gate["second"].shape for layer in layers(model)] == [(4,), (4,)]


def test_a_gate_that_diverged_is_kept(llama: Architecture, wrap: Wrap) -> None:
    model = wrap("sora", llama, r=3)
    keep_ranks(model, [1, 3, 3, 3])
    gate = layers(model)[0].sora_gate["default"]
    with torch.no_grad():
        gate[gate != 0] = torch.nan
    assert prune_gates(model) == 2
    assert torch.isnan(gate).tolist() == [True]


def test_shared_parameters(llama: Architecture, wrap: Wrap, tokens: Tensor) -> None:
    model = wrap("sora", llama, r=4)
    first, _, second, _ = layers(model)
    second.sora_gate["default"] = first.sora_gate["default"]
    second.sora_A["default"] = first.sora_A["default"]
    keep_ranks(model, [2, 4, 2, 4])
    before = logits(model, tokens)
    assert prune_gates(model) == 2
    torch.testing.assert_close(logits(model, tokens), before, atol=2e-6, rtol=0)
    assert second.sora_gate["default"] is first.sora_gate["default"]

    second.sora_gate["default"] = nn.Parameter(torch.tensor([0.0, 1.0]))
    with pytest.raises(ConfigError, match="Modules that share parameters must have the same zero gates"):
        prune_gates(model)
    assert torch.equal(logits(model, tokens), logits(model, tokens))
    assert second.sora_gate["default"].shape == (2,)


def test_an_optimizer_whose_state_cannot_be_cut(llama: Architecture, wrap: Wrap, tokens: Tensor) -> None:
    model = wrap("sora", llama, r=4)
    optimizer = create_sora_optimizer(model, torch.optim.Adafactor, lr=1e-2)
    train(model, optimizer, tokens)
    keep_ranks(model, [2, 0, 1, 3])
    with pytest.raises(ConfigError, match=r"`optimizer` must keep plain tensors .* Adafactor has 'row_var'"):
        prune_gates(model, optimizer)
    assert [len(layer.sora_gate["default"]) for layer in layers(model)] == [4, 4, 4, 4]
    assert prune_gates(model) == 9


def test_what_has_no_gates(llama: Architecture, wrap: Wrap) -> None:
    with pytest.raises(ConfigError, match="Wrap the model with a SoRAConfig first"):
        prune_gates(llama.model())
    with pytest.raises(ConfigError, match="Did you mean 'default'"):
        prune_gates(wrap("sora", llama), adapter_name="defualt")


def test_moments_of_another_kind_of_tensor(llama: Architecture, wrap: Wrap, tokens: Tensor) -> None:
    """torchao keeps those of large parameters in subclasses of 8 bits."""

    class Quantised(Tensor):
        pass

    model = wrap("sora", llama, r=4)
    optimizer = create_sora_optimizer(model, lr=1e-2)
    train(model, optimizer, tokens)
    keep_ranks(model, [2, 0, 1, 3])
    state = optimizer.state[layers(model)[0].sora_A["default"]]
    state["exp_avg"] = state["exp_avg"].as_subclass(Quantised)
    with pytest.raises(ConfigError, match=r"must keep plain tensors .*'exp_avg' \(Quantised \(4, 24\)\)"):
        prune_gates(model, optimizer)


@pytest.mark.parametrize("options", [{}, {"fused": True}], ids=["plain", "fused"])
def test_a_state_of_other_gates_is_an_error_before_the_step(
    llama: Architecture, wrap: Wrap, tokens: Tensor, options: dict[str, Any]
) -> None:
    """A fused step would read moments of gates that are no longer there."""
    model = wrap("sora", llama, r=4)
    optimizer = create_sora_optimizer(model, lr=1e-2, sparse_lambda=0.0, **options)
    train(model, optimizer, tokens)
    whole = copy.deepcopy((model, optimizer.state_dict()))
    keep_ranks(model, [2, 3, 4, 1])
    prune_gates(model)
    before = logits(model, tokens)
    with pytest.raises(ConfigError, match=r"state is for, 16 of adapter 'default', but the model has 10\."):
        train(model, optimizer, tokens)
    assert torch.equal(logits(model.eval(), tokens), before)
    again = create_sora_optimizer(model, lr=1e-2, **options)
    train(model, again, tokens)

    resumed = create_sora_optimizer(whole[0], lr=1e-2, **options)
    resumed.load_state_dict(again.state_dict())
    with pytest.raises(ConfigError, match=r"state is for, 10 .* has 16\..*is_trainable=True"):
        train(whole[0], resumed, tokens)
    resumed.load_state_dict(whole[1])
    train(whole[0], resumed, tokens)


def test_an_optimizer_of_another_model(llama: Architecture, wrap: Wrap) -> None:
    model = wrap("sora", llama, r=4)
    keep_ranks(model, [2, 3, 4, 1])
    with pytest.raises(ConfigError, match="`optimizer` must be the one that trains the adapter"):
        prune_gates(model, torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1))
    assert [len(layer.sora_gate["default"]) for layer in layers(model)] == [4, 4, 4, 4]
