from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model, prepare_model_for_kbit_training
from peft.utils import get_quantization_kwargs
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from amplitune.adapters.layers.adapter_layer import AdapterLayer
from amplitune.adapters.layers.quantized_base import find_backend, read_weight


def wrapped(model: Any) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, AdapterLayer)]


def tensors(base: nn.Module) -> dict[str, Tensor]:
    """Copy all tensors of a base model; those of torchao in their parts."""
    found = dict(base.named_parameters()) | dict(base.named_buffers())
    parts = {
        f"{name}.{part}": getattr(tensor, part)
        for name, tensor in found.items()
        for part in (("qdata", "scale") if hasattr(tensor, "qdata") else ("data",))
    }
    return {name.replace("base_layer.", ""): tensor.detach().clone() for name, tensor in parts.items()}


@pytest.fixture
def tokens() -> Tensor:
    return torch.randint(0, 50, (3, 7), generator=torch.Generator().manual_seed(1))


def adapted(scheme: Any, base_folder: str, config: Any, seed: int = 100) -> Any:
    base = scheme.quantize(base_folder)
    torch.manual_seed(seed)
    return get_peft_model(base, config).eval()


def test_the_output_is_the_quantised_layer_s_plus_the_branch(
    scheme: Any, method: str, base_folder: str, quantized_config: Any
) -> None:
    model = adapted(scheme, base_folder, quantized_config(method))
    assert len(wrapped(model)) == 6
    for layer in wrapped(model):
        assert f"quantization_backend='{layer.quantization_backend.backend_name}'" in repr(layer)
        assert (layer.in_features, layer.out_features) == (64, 64)
        x = torch.randn(2, 3, 64)
        for training in (False, True):
            layer.train(training)
            base, branch = layer.base_layer(x), layer.branch(x, "default")
            torch.testing.assert_close(layer(x), base + branch, atol=1e-5, rtol=1e-5)
        assert branch.abs().max() > 1e-3


@pytest.mark.parametrize(("method", "reentrant"), [("qaa", True), ("sora", False), ("control", False)])
def test_training_changes_the_adapter_alone(
    scheme: Any, method: str, base_folder: str, quantized_config: Any, tokens: Tensor, reentrant: bool
) -> None:
    base = prepare_model_for_kbit_training(
        scheme.quantize(base_folder), gradient_checkpointing_kwargs={"use_reentrant": reentrant}
    )
    before = tensors(base)
    torch.manual_seed(100)
    model = get_peft_model(base, quantized_config(method, init_weights=True)).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert {parameter.dtype for parameter in trained} == {torch.float32}
    optimizer = torch.optim.Adam(trained, lr=0.03)
    losses = []
    for _ in range(3):
        loss = model(input_ids=tokens, labels=tokens).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        assert all(parameter.grad.isfinite().all() for parameter in trained)
        optimizer.step()
    assert losses[2] < losses[1] < losses[0]
    after = tensors(base)
    assert len(before) >= 20
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor), name


def test_gradients_are_those_around_the_dequantised_weights(
    mergeable_scheme: Any, method: str, base_folder: str, quantized_config: Any, tokens: Tensor
) -> None:
    model = adapted(mergeable_scheme, base_folder, quantized_config(method)).train()
    plain: Any = LlamaForCausalLM.from_pretrained(base_folder)
    quantised = dict(model.get_base_model().named_modules())
    linear = {name: module for name, module in plain.model.named_modules() if isinstance(module, nn.Linear)}
    assert len(linear) == 14
    kwargs = get_quantization_kwargs(model.get_base_model())
    for name, module in linear.items():
        found = quantised[f"model.{name}"]
        found = found.get_base_layer() if isinstance(found, AdapterLayer) else found
        backend = find_backend(found, **kwargs)
        assert backend is not None
        module.weight.data = read_weight(found, backend).float()
    torch.manual_seed(100)
    reference = get_peft_model(plain, quantized_config(method)).train()
    gradients = []
    for each in (model, reference):
        each(input_ids=tokens, labels=tokens).loss.backward()
        gradients.append([parameter.grad for parameter in each.parameters() if parameter.requires_grad])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, atol=3e-4, rtol=0.02)


def test_saving_and_loading(
    scheme: Any, method: str, base_folder: str, quantized_config: Any, tokens: Tensor, kept_folder: str
) -> None:
    model = adapted(scheme, base_folder, quantized_config(method))
    # Saving and loading come before inference: bitsandbytes rounds 4-bit scales again when it gives a state
    # dict after inference on a CPU with AVX512-BF16, which peft asks for in both.
    model.save_pretrained(kept_folder)
    stored = load_file(Path(kept_folder) / "adapter_model.safetensors")
    assert stored
    assert all(f".{method}_" in name for name in stored)
    loaded = PeftModel.from_pretrained(scheme.quantize(base_folder), kept_folder)
    with torch.no_grad():
        plain = scheme.quantize(base_folder)(tokens).logits
        logits = model(tokens).logits
        assert not torch.allclose(plain, logits, atol=1e-2)
        torch.testing.assert_close(loaded(tokens).logits, logits)
        with loaded.disable_adapter():
            torch.testing.assert_close(loaded(tokens).logits, plain)
        torch.testing.assert_close(loaded.unload()(tokens).logits, plain)
