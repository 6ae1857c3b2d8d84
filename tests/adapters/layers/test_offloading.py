from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import cpu_offload, disk_offload
from peft import get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn


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
