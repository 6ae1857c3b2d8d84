"""The life of SoRA around torch's multi-head attention: merged, saved, combined, pruned, made a LoRA."""

import copy
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import peft.tuners.lora.layer
import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tests.adapters.sora.test_multihead_attention import WIDTH, Net, adapted, config, explicit, layers
from torch import Tensor, nn

from amplitune import gate_sparsity, prune_gates, prune_to_lora
from amplitune.adapters import save_as_lora
from amplitune.adapters.sora import lora_attention
from amplitune.errors import ConfigError


@pytest.fixture
def x() -> Tensor:
    return torch.randn(4, 2, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("safe_merge", [False, True])
def test_merge_disable_and_unload(x: Tensor, safe_merge: bool) -> None:
    model, attention = adapted()
    base: Any = copy.deepcopy(model).unload()
    assert type(base.mha.out_proj) is type(nn.MultiheadAttention(2, 1).out_proj)
    expected = model(x)
    with model.disable_adapter():
        assert torch.equal(model(x), base(x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.merge_adapter(safe_merge=safe_merge)
        torch.testing.assert_close(attention.in_proj_weight, explicit_weights(base, model)[0])
        torch.testing.assert_close(attention.out_proj.weight, explicit_weights(base, model)[1])
        torch.testing.assert_close(model(x), expected)
        model.unmerge_adapter()
        torch.testing.assert_close(model(x), expected)
        attention.merge()
        with model.disable_adapter():
            torch.testing.assert_close(model(x), base(x))
        torch.testing.assert_close(model(x), expected)
        merged = model.merge_and_unload(safe_merge=safe_merge)
    torch.testing.assert_close(merged(x), expected)
    assert merged.state_dict().keys() == base.state_dict().keys()


def explicit_weights(base: Any, model: Any) -> list[Tensor]:
    both = layers(model.get_base_model().mha)
    weights = (base.mha.in_proj_weight, base.mha.out_proj.weight)
    return [weight + layer.get_delta_weight("default") for weight, layer in zip(weights, both, strict=True)]


def test_a_broken_projection_is_not_merged(x: Tensor) -> None:
    model, attention = adapted()
    weight = attention.out_proj.weight.clone()
    with torch.no_grad():
        layers(attention)[1].sora_gate["default"][0] = torch.nan
    with pytest.raises(ConfigError, match="NaNs detected"):
        model.merge_adapter(safe_merge=True)
    assert torch.equal(attention.out_proj.weight, weight)
    model.unmerge_adapter()
    with torch.no_grad():
        layers(attention)[1].sora_gate["default"][0] = 0.0
    torch.testing.assert_close(attention(x, x, x), explicit(attention)(x, x, x))


def test_a_weight_that_several_attentions_share_is_untied(x: Tensor) -> None:
    net = nn.ModuleDict({"mha": nn.MultiheadAttention(WIDTH, 2), "other": nn.MultiheadAttention(WIDTH, 2)})
    mha, other = net["mha"], net["other"]
    mha.in_proj_weight = other.in_proj_weight
    model: Any = get_peft_model(net, config())
    expected = other(x, x, x)[0]
    with pytest.warns(UserWarning, match="mha and other share a weight"):
        model.merge_adapter()
    torch.testing.assert_close(other(x, x, x)[0], expected)


def test_adapters_add_up_and_come_and_go(x: Tensor) -> None:
    model, attention = adapted()
    model.add_adapter("second", config(r=2))
    model.eval()
    alone = model(x)
    model.base_model.set_adapter(["default", "second"])
    both = model(x)
    weights = [
        [layer.get_delta_weight(name) for layer in layers(attention)] for name in ("default", "second")
    ]
    base = copy.deepcopy(model).unload()
    with torch.no_grad():
        for deltas in weights:
            base.mha.in_proj_weight += deltas[0]
            base.mha.out_proj.weight += deltas[1]
    torch.testing.assert_close(both, base(x))
    torch.testing.assert_close(copy.deepcopy(model)(x), both)
    model.merge_adapter(["second"])
    model.unmerge_adapter()
    model.base_model.add_weighted_adapter(["default", "second"], [1.0, 1.0], "sum")
    model.base_model.set_adapter(["sum"])
    torch.testing.assert_close(model(x), both, rtol=1e-4, atol=1e-5)
    assert model.peft_config["sum"].target_modules == {"mha"}
    model.delete_adapter("sum")
    model.delete_adapter("second")
    model.set_adapter("default")
    torch.testing.assert_close(model(x), alone)
    assert not any("second" in name or "sum" in name for name, _ in model.named_parameters())


@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_save_and_load(x: Tensor, tmp_path: Path, low_cpu_mem_usage: bool) -> None:
    model, _ = adapted(bias=False)
    expected = model(x)
    model.save_pretrained(str(tmp_path))
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert {key.removeprefix("base_model.model.mha.") for key in tensors} == {
        f"{part}sora_{name}" for part in ("", "base_layer.out_proj.") for name in ("A", "B", "gate")
    }
    net = model.unload()
    loaded = PeftModel.from_pretrained(net, str(tmp_path), low_cpu_mem_usage=low_cpu_mem_usage).eval()
    assert torch.equal(loaded(x), expected)


def test_a_damaged_file_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    model, _ = adapted()
    model.save_pretrained(str(tmp_path))
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    del tensors["base_model.model.mha.base_layer.out_proj.sora_A"]
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    net: Any = Net()
    names = list(net.state_dict())
    with pytest.raises(ConfigError, match="lacks 1"):
        PeftModel.from_pretrained(net, str(tmp_path))
    assert list(net.state_dict()) == names
    other: Any = get_peft_model(net, config(target_modules=["head"]))
    names = list(net.state_dict())
    with pytest.raises(ConfigError, match="lacks 1"):
        other.load_adapter(str(tmp_path), "second")
    assert list(net.state_dict()) == names


def test_pruned_gates_leave_as_many_ranks_in_both(x: Tensor, tmp_path: Path) -> None:
    model, attention = adapted()
    model.add_adapter("other", config())
    first, second = layers(attention)
    with torch.no_grad():
        first.sora_gate["default"][1:] = 0.0
        second.sora_gate["default"][:1] = 0.0
    expected = model(x)
    assert prune_gates(model) == 2
    assert [len(layer.sora_gate["default"]) for layer in (first, second)] == [2, 2]
    torch.testing.assert_close(model(x), expected)
    pruned = model.peft_config["default"]
    assert (pruned.rank_pattern, pruned.pruned_gates) == ({"^mha": 2}, 2)
    assert gate_sparsity(model).gates == 6
    model.save_pretrained(str(tmp_path), selected_adapters=["default"])
    loaded = PeftModel.from_pretrained(model.unload(), str(tmp_path)).eval()
    torch.testing.assert_close(loaded(x), expected)


def test_a_lora_that_peft_would_add_twice_is_refused(x: Tensor, tmp_path: Path) -> None:
    if lora_attention._adds_once():
        pytest.skip("the installed peft adds it once")
    model, attention = adapted()
    expected = model(x)
    for make in (prune_to_lora, lambda model: save_as_lora(model, tmp_path / "lora")):
        with pytest.raises(ConfigError, match=r"peft 0\S+ adds it twice.*merge_and_unload"):
            make(model)
    assert not (tmp_path / "lora").exists()
    torch.testing.assert_close(model(x), expected)
    with torch.no_grad():
        layers(attention)[1].sora_gate["default"].zero_()
        layers(attention)[0].sora_gate["default"][0] = 0.0
    expected = model(x)
    lora = prune_to_lora(model).eval()
    torch.testing.assert_close(lora(x), expected)
    settings: Any = lora.peft_config["default"]
    assert settings.r == 2


@pytest.fixture
def repaired_peft(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """peft's LoRA with W + B A in the output projection, as it adds it in the input projection."""
    lora: Any = peft.tuners.lora.layer

    def without_out_proj(method: Callable[..., Any]) -> Callable[..., Any]:
        def run(layer: Any, *args: Any, **kwargs: Any) -> None:
            with monkeypatch.context() as patch:
                patch.setattr(lora.Linear, "merge", lambda *_, **__: None)
                patch.setattr(lora.Linear, "unmerge", lambda *_, **__: None)
                method(layer, *args, **kwargs)

        return run

    for name in ("merge", "unmerge"):
        method = getattr(lora.MultiheadAttention, name)
        monkeypatch.setattr(lora.MultiheadAttention, name, without_out_proj(method))
    lora_attention._adds_once.cache_clear()
    yield
    lora_attention._adds_once.cache_clear()


@pytest.mark.usefixtures("repaired_peft")
@pytest.mark.parametrize(
    ("zero", "rank"), [((1, 2), 2), ((2, 1), 2), ((0, 3), 3), ((3, 1), 2), ((3, 3), None)], ids=str
)
def test_prune_to_lora(x: Tensor, tmp_path: Path, zero: tuple[int, int], rank: int | None) -> None:
    net: Any = Net()
    model: Any = get_peft_model(net, config(target_modules=["mha", "head"], bias="all")).eval()
    with torch.no_grad():
        net.mha.out_proj.bias.normal_()
        for layer, gates in zip(layers(net.mha), zero, strict=True):
            layer.sora_gate["default"][:gates] = 0.0
    expected = model(x)
    save_as_lora(model, tmp_path)
    lora = prune_to_lora(model).eval()
    torch.testing.assert_close(lora(x), expected)
    settings: Any = lora.peft_config["default"]
    assert settings.target_modules == ({"head"} if rank is None else {"head", "mha"})
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    found = {key: value for key, value in tensors.items() if ".mha" in key and "lora_A" in key}
    assert [len(value) for value in found.values()] == ([] if rank is None else [rank, rank])
    loaded = PeftModel.from_pretrained(Net(), str(tmp_path)).eval()
    torch.testing.assert_close(loaded(x), expected)


def test_its_attributes_are_those_of_the_attention() -> None:
    _, attention = adapted(batch_first=True, add_bias_kv=True)
    base = attention.get_base_layer()
    for name in ("embed_dim", "kdim", "vdim", "num_heads", "head_dim", "dropout", "batch_first"):
        assert getattr(attention, name) == getattr(base, name)
    for name in ("in_proj_weight", "in_proj_bias", "bias_k", "bias_v"):
        assert getattr(attention, name) is getattr(base, name)
    assert attention.add_zero_attn is False
    assert attention._qkv_same_embed_dim is True
    assert attention.out_proj is base.out_proj.get_base_layer()
    mask = torch.ones(2, 3, dtype=torch.bool)
    merged, kind = attention.merge_masks(None, mask, torch.zeros(2, 3, WIDTH))
    assert merged is mask
    assert kind == 1
