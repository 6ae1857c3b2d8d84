"""Weighted sums of SoRA adapters, compared with matrices and with those of LoRA adapters in peft."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from amplitune import SoRAConfig, gate_sparsity, prune_to_lora
from amplitune.errors import ConfigError

NAMES, WEIGHTS = ["default", "second"], [0.6, -1.3]
LAYERS: dict[str, Any] = {
    "linear": lambda: nn.Linear(7, 6),
    "embedding": lambda: nn.Embedding(9, 6),
    "convolution": lambda: nn.Conv2d(3, 6, 2),
    "groups": lambda: nn.Conv1d(4, 6, 3, groups=2),
}


def model_of(make: Any, ranks: tuple[int, int] = (4, 2)) -> Any:
    first, second = (
        SoRAConfig(r=r, lora_alpha=alpha, target_modules=["0"], init_weights=False)
        for r, alpha in zip(ranks, (3.0, 8.0), strict=True)
    )
    model: Any = get_peft_model(nn.Sequential(make()), first)
    model.add_adapter("second", second)
    return model


def weighted_delta(layer: Any) -> Tensor:
    return sum(weight * layer.get_delta_weight(name) for name, weight in zip(NAMES, WEIGHTS, strict=True))


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("combination_type", ["cat", "svd"])
def test_the_change_of_weight_is_the_exact_sum(make: Any, combination_type: str) -> None:
    model = model_of(make)
    layer = model.base_model.model[0]
    options = {"svd_rank": 6} if combination_type == "svd" else {}
    model.add_weighted_adapter(NAMES, WEIGHTS, "sum", combination_type=combination_type, **options)
    assert len(layer.sora_gate["sum"]) == 6
    torch.testing.assert_close(layer.get_delta_weight("sum"), weighted_delta(layer), rtol=1e-5, atol=1e-5)


def test_cat_keeps_the_gates_that_are_zero() -> None:
    model = model_of(LAYERS["linear"])
    layer = model.base_model.model[0]
    with torch.no_grad():
        layer.sora_gate["default"][1:3] = 0
    model.add_weighted_adapter(NAMES, WEIGHTS, "sum")
    assert torch.equal(layer.sora_gate["sum"], torch.cat([layer.sora_gate[name] for name in NAMES]))
    assert gate_sparsity(model, "sum").remaining == 4
    expected = weighted_delta(layer)
    lora: Any = prune_to_lora(model, "sum")
    assert lora.peft_config["sum"].r == 4
    torch.testing.assert_close(lora.base_model.model[0].get_delta_weight("sum"), expected)


@pytest.mark.parametrize("make", [LAYERS["linear"], LAYERS["groups"]], ids=["linear", "groups"])
@pytest.mark.parametrize("svd_rank", [None, 2])
def test_svd_is_the_best_of_its_rank_with_singular_values_as_gates(make: Any, svd_rank: int | None) -> None:
    model = model_of(make)
    layer = model.base_model.model[0]
    model.add_weighted_adapter(NAMES, WEIGHTS, "sum", "svd", svd_rank)
    groups = getattr(layer.get_base_layer(), "groups", 1)
    rank = 4 if svd_rank is None else svd_rank
    assert model.peft_config["sum"].r == len(layer.sora_gate["sum"]) == rank
    u, s, v = torch.linalg.svd(weighted_delta(layer).reshape(groups, 6 // groups, -1), full_matrices=False)
    kept = rank // groups
    best = u[..., :kept] @ torch.diag_embed(s[:, :kept]) @ v[:, :kept]
    got = layer.get_delta_weight("sum").reshape(best.shape)
    torch.testing.assert_close(got, best, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.sora_gate["sum"].view(groups, -1), s[:, :kept], rtol=1e-4, atol=1e-5)


def test_linear_is_what_peft_makes_of_the_same_lora_adapters() -> None:
    model = model_of(LAYERS["linear"], ranks=(3, 3))
    layer = model.base_model.model[0]
    lora: Any = get_peft_model(
        nn.Sequential(nn.Linear(7, 6)), LoraConfig(r=3, lora_alpha=3, target_modules=["0"])
    )
    lora.add_adapter("second", LoraConfig(r=3, lora_alpha=8, target_modules=["0"]))
    other = lora.base_model.model[0]
    with torch.no_grad():
        for name in NAMES:
            other.lora_A[name].weight.copy_(layer.sora_A[name])
            other.lora_B[name].weight.copy_(layer.sora_B[name] * layer.sora_gate[name])
    model.add_weighted_adapter(NAMES, WEIGHTS, "sum", combination_type="linear")
    lora.add_weighted_adapter(NAMES, WEIGHTS, "sum", combination_type="linear")
    torch.testing.assert_close(layer.get_delta_weight("sum"), other.get_delta_weight("sum"))
    assert torch.equal(layer.sora_gate["sum"], torch.ones(3))


def test_what_a_way_cannot_do_is_refused() -> None:
    model = model_of(LAYERS["linear"])
    for options, message in (
        (
            {"combination_type": "linear"},
            r"'linear' needs .* the ranks in 0 are \{'default': 4, 'second': 2\}",
        ),
        ({"svd_rank": 3}, "`svd_rank` must be left unset with combination_type: 'cat'"),
        ({"combination_type": "svd", "svd_rank": 0}, "`svd_rank` must be an integer of at least 1"),
        ({"combination_type": "dare_ties"}, r"one of 'cat', 'linear', 'svd', but is .*prune_to_lora"),
    ):
        with pytest.raises(ConfigError, match=message):
            model.add_weighted_adapter(NAMES, WEIGHTS, "sum", **options)
    assert list(model.peft_config) == NAMES


def test_dropout_of_the_new_adapter_is_off_in_a_model_that_is_evaluated() -> None:
    model = get_peft_model(
        nn.Sequential(nn.Linear(7, 6)),
        SoRAConfig(r=4, lora_dropout=0.5, target_modules=["0"], init_weights=False),
    ).eval()
    x = torch.randn(3, 7)
    expected = model(x)
    model.add_weighted_adapter(["default"], [1.0], "sum")
    model.set_adapter("sum")
    torch.testing.assert_close(model(x), expected)
