"""The modules that a pruned LoRA names, and those where peft's LoRA would not do what SoRA does."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModel, PeftModel, get_peft_model
from tests.adapters.conftest import Architecture, Wrap
from tests.adapters.sora.test_prune import keep_ranks
from tests.adapters.test_lifecycle import logits
from torch import Tensor, nn

from amplitune import SoRAConfig, prune_to_lora
from amplitune.adapters import save_as_lora
from amplitune.errors import ConfigError


def linear() -> nn.Module:
    return nn.Linear(4, 4)


def norm() -> nn.Module:
    return nn.LayerNorm(4)


@pytest.mark.parametrize("other", [linear, norm])
def test_a_name_that_is_the_ending_of_another(other: Callable[[], nn.Module], tmp_path: Path) -> None:
    """peft would adapt the other one as well, or say that it cannot when the base model has moved already."""

    def network() -> Any:
        torch.manual_seed(0)
        return nn.ModuleDict({"fc": nn.Linear(4, 4), "block": nn.ModuleDict({"fc": other()})})

    net = network()
    # A regular expression matches the whole name.
    model = get_peft_model(net, SoRAConfig(r=3, target_modules="fc", init_weights=False))
    x = torch.randn(5, 4)
    expected = net["fc"](x)
    save_as_lora(model, tmp_path)
    lora = prune_to_lora(model)
    torch.testing.assert_close(net["fc"](x), expected)
    assert [name for name, module in lora.named_modules() if hasattr(module, "lora_A")] == [
        "base_model.model.fc"
    ]
    fresh = network()
    PeftModel.from_pretrained(fresh, str(tmp_path))
    torch.testing.assert_close(fresh["fc"](x), expected)
    assert type(fresh["block"]["fc"]) is type(other())


def test_wrapped_layers_have_plain_names_in_the_file(tmp_path: Path) -> None:
    def network() -> Any:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))

    model: Any = get_peft_model(network(), SoRAConfig(r=3, target_modules=["0", "1"], init_weights=False))
    model.base_model.model[0] = torch.compile(model.base_model.model[0], backend="eager")
    x = torch.randn(5, 4)
    expected = model(x)
    with pytest.raises(ConfigError, match=r"no wrappers around its layers.*0\._orig_mod is in one"):
        prune_to_lora(model)
    torch.testing.assert_close(model(x), expected)
    save_as_lora(model, tmp_path)
    torch.testing.assert_close(PeftModel.from_pretrained(network(), str(tmp_path))(x), expected)


def test_auto_peft_model_opens_a_lora_without_a_task(
    llama: Architecture, wrap: Wrap, saved_base: Callable[[Architecture], str], tokens: Tensor, tmp_path: Path
) -> None:
    model: Any = wrap("sora", llama, task_type=None)
    name = saved_base(llama)
    model.get_base_model().name_or_path = model.peft_config["default"].base_model_name_or_path = name
    save_as_lora(model, tmp_path)
    loaded = AutoPeftModel.from_pretrained(str(tmp_path)).eval()
    torch.testing.assert_close(logits(loaded, tokens), logits(model, tokens), atol=2e-6, rtol=0)
    prune_to_lora(model).save_pretrained(str(tmp_path / "b"))
    configs = [
        json.loads((folder / "adapter_config.json").read_text()) for folder in (tmp_path, tmp_path / "b")
    ]
    assert configs[0]["auto_mapping"] == configs[1]["auto_mapping"] != {}


def test_a_model_that_adapted_itself_is_told_the_way(llama: Architecture) -> None:
    model: Any = llama.model()
    model.add_adapter(SoRAConfig(target_modules=["q_proj"]))
    with pytest.raises(ConfigError, match=r"`model` must be a PeftModel.*open the folder with"):
        prune_to_lora(model)


@pytest.fixture
def _restored() -> Iterator[None]:
    enabled = torch.backends.mha.get_fastpath_enabled()
    yield
    torch.backends.mha.set_fastpath_enabled(enabled)


@pytest.mark.usefixtures("_restored")
@pytest.mark.parametrize("target", ["self_attn", "linear1"])
def test_an_encoder_would_pass_a_lora_over_at_inference(target: str, tmp_path: Path) -> None:
    def encoder(batch_first: bool = True) -> Any:
        torch.manual_seed(0)
        return nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first, dropout=0.0),
            1,
            enable_nested_tensor=False,
        ).eval()

    def adapted(**fields: Any) -> Any:
        model: Any = get_peft_model(
            encoder(**fields), SoRAConfig(r=3, target_modules=[target], init_weights=False)
        ).eval()
        if target == "self_attn":
            # The projection that some versions of peft add twice.
            keep_ranks(model, [3, 0])
        return model

    model = adapted()
    x = torch.randn(2, 3, 8)
    with torch.no_grad():
        expected = model(x)
        assert (encoder()(x) - expected).abs().max() > 0.01
        for make in (prune_to_lora, lambda model: save_as_lora(model, tmp_path / "refused")):
            with pytest.raises(ConfigError, match=rf"layers\.0\.{target} at inference.*set_fastpath_enabled"):
                make(model)
        assert torch.equal(model(x), expected)
        assert not list(tmp_path.iterdir())
        assert isinstance(prune_to_lora(adapted(batch_first=False)), PeftModel)

        torch.backends.mha.set_fastpath_enabled(False)
        save_as_lora(model, tmp_path)
        loaded = PeftModel.from_pretrained(encoder(), str(tmp_path)).eval()
        torch.testing.assert_close(loaded(x), expected)
        # What the refusal is for: this fails when peft keeps torch from its own way one day.
        torch.backends.mha.set_fastpath_enabled(True)
        torch.testing.assert_close(loaded(x), encoder()(x))
