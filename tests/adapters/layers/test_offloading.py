from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import cpu_offload, disk_offload, dispatch_model
from peft import PeftConfig, PeftModel, get_peft_model, load_peft_weights, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from amplitune.adapters.qaa import shared
from amplitune.errors import ConfigError
from amplitune.quantum import expectation


def logits(model: Any, tokens: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(tokens).logits
    return found


def tensors_of_adapters(model: Any) -> list[Tensor]:
    return [parameter for name, parameter in model.named_parameters() if ".default" in name]


@pytest.fixture(params=["cpu", "disk"])
def offload(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[nn.Module], None]:
    """Let accelerate keep all tensors of a model elsewhere, and compute on the CPU."""

    def to_cpu(model: nn.Module) -> None:
        cpu_offload(model, execution_device=torch.device("cpu"))

    def to_disk(model: nn.Module) -> None:
        disk_offload(model, str(tmp_path / "offloaded"), execution_device=torch.device("cpu"))

    return to_cpu if request.param == "cpu" else to_disk


def test_an_offloaded_adapter_is_brought_for_the_forward_pass(
    architecture: Any, method: str, wrap: Any, tokens: Tensor, offload: Any
) -> None:
    model = wrap(method, architecture)
    before = logits(model, tokens)
    offload(model)
    assert {tensor.device.type for tensor in tensors_of_adapters(model)} == {"meta"}
    torch.testing.assert_close(logits(model, tokens), before)
    assert {tensor.device.type for tensor in tensors_of_adapters(model)} == {"meta"}


def test_an_offloaded_adapter_merges(llama: Any, wrap: Any, tokens: Tensor, offload: Any) -> None:
    model = wrap("sora", llama)
    before = logits(model, tokens)
    offload(model)
    model.merge_adapter()
    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    assert all(layer.merged for layer in layers)
    torch.testing.assert_close(logits(model, tokens), before)
    model.unmerge_adapter()
    torch.testing.assert_close(logits(model, tokens), before)


def test_an_adapter_around_an_offloaded_layer_is_where_the_layer_computes(
    llama: Any, method: str, wrap: Any, make_config: Any, tokens: Tensor, offload: Any
) -> None:
    expected = logits(wrap(method, llama), tokens)
    base = llama.model()
    offload(base)
    torch.manual_seed(100)
    model = get_peft_model(base, make_config(method, llama)).eval()
    assert {tensor.device.type for tensor in tensors_of_adapters(model)} == {"cpu"}
    torch.testing.assert_close(logits(model, tokens), expected)


PLACES = {
    "base_model.model.model.embed_tokens": "cpu",
    "base_model.model.model.rotary_emb": "cpu",
    "base_model.model.model.layers.0": "cpu",
    "base_model.model.model.layers.1": "disk",
    "base_model.model.model.norm": "cpu",
    "base_model.model.lm_head": "cpu",
}
SHARED = {"target_modules": ["q_proj", "k_proj", "v_proj"], "share_circuit": True}


@pytest.mark.parametrize("training", [True, False])
def test_a_circuit_of_several_offloaded_layers(
    llama: Any, wrap: Any, tokens: Tensor, offload: Any, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = wrap("qaa", llama, **SHARED)
    before = logits(model, tokens)
    offload(model)
    runs = []

    def run(*arguments: Any) -> Tensor:
        runs.append(arguments)
        return expectation(*arguments)

    monkeypatch.setattr(shared, "expectation", run)
    # The second pass finds what the first one has left.
    for _ in range(2):
        with torch.set_grad_enabled(training):
            torch.testing.assert_close(model(tokens).logits.detach(), before)
    assert len(runs) == 2 * 2
    assert {tensor.device.type for tensor in tensors_of_adapters(model)} == {"meta"}


def test_only_the_owner_of_a_circuit_is_offloaded(
    llama: Any, wrap: Any, tokens: Tensor, offload: Any
) -> None:
    model = wrap("qaa", llama, **SHARED)
    before = logits(model, tokens)
    attention = model.base_model.model.model.layers[0].self_attn
    h = torch.randn(2, 24)
    expected = attention.k_proj(h).detach()
    offload(attention.q_proj)
    torch.testing.assert_close(logits(model, tokens), before)
    # It brings the angles itself where it is asked first.
    torch.testing.assert_close(attention.k_proj(h).detach(), expected)
    assert attention.k_proj.angles_of("default").device.type == "cpu"
    assert attention.q_proj.qaa_angles["default"].is_meta


def test_an_offloaded_adapter_with_one_circuit_merges(
    llama: Any, wrap: Any, tokens: Tensor, offload: Any
) -> None:
    options = {"readout": "interferometric", "norm": "restore", "up_proj_bias": False}
    model = wrap("qaa", llama, **SHARED, **options)
    before = logits(model, tokens)
    offload(model)
    model.merge_adapter()
    torch.testing.assert_close(logits(model, tokens), before)
    model.unmerge_adapter()
    torch.testing.assert_close(logits(model, tokens), before)


@pytest.mark.filterwarnings("ignore:for base_model.*copying from a non-meta parameter")
def test_an_adapter_that_peft_has_not_written_to_disk_is_refused(
    llama: Any, method: str, wrap: Any, tokens: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # peft writes beside the current folder.
    monkeypatch.chdir(tmp_path)
    model = wrap(method, llama)
    before = logits(model, tokens)
    model.save_pretrained(str(tmp_path / "adapter"))
    model.unload().save_pretrained(str(tmp_path / "base"))
    own = {name.removeprefix("base_model.model."): place for name, place in PLACES.items()}

    def base() -> Any:
        return LlamaForCausalLM.from_pretrained(
            tmp_path / "base", device_map=own, offload_folder=str(tmp_path / "offloaded")
        )

    loaded = PeftModel.from_pretrained(
        base(), str(tmp_path / "adapter"), device_map=PLACES, offload_folder=str(tmp_path / "more")
    ).eval()
    with pytest.raises(ConfigError, match=r"finds no 'base_model.*layers\.1.*default'.*get_peft_model"):
        loaded(tokens)
    remedied: Any = get_peft_model(base(), PeftConfig.from_pretrained(str(tmp_path / "adapter"))).eval()
    set_peft_model_state_dict(remedied, load_peft_weights(str(tmp_path / "adapter")))
    torch.testing.assert_close(logits(remedied, tokens), before)


def test_layers_with_one_circuit_dispatched_to_several_places(
    llama: Any, wrap: Any, tokens: Tensor, tmp_path: Path
) -> None:
    model = wrap("qaa", llama, **SHARED)
    before = logits(model, tokens)
    dispatch_model(model, PLACES, main_device="cpu", offload_dir=str(tmp_path), force_hooks=True)
    assert {tensor.device.type for tensor in tensors_of_adapters(model)} == {"cpu", "meta"}
    for _ in range(2):
        torch.testing.assert_close(logits(model, tokens), before)
