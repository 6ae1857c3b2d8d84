from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftModel, get_peft_model, prepare_model_for_kbit_training
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, TorchAoConfig

from amplitune import QAAConfig, SoRAConfig
from amplitune.adapters.layers.adapter_layer import AdapterLayer
from amplitune.adapters.layers.quantized_base import find_backend, is_quantized_linear, read_weight
from amplitune.errors import ConfigError, NotMergeableError


def wrapped(model: Any) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, AdapterLayer)]


@pytest.fixture
def tokens() -> Tensor:
    return torch.randint(0, 50, (3, 7), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize(("d_out", "d_in"), [(32, 64), (96, 128), (64, 192)])
def test_a_4_bit_weight_is_read_as_it_was_after_inference_has_permuted_it(
    scheme_named: Any, d_out: int, d_in: int, twice: bool
) -> None:
    scheme_named("bnb-nf4")
    import bitsandbytes

    layer: Any = bitsandbytes.nn.Linear4bit(d_in, d_out, quant_type="nf4", compress_statistics=twice).to(
        "cpu"
    )
    backend = find_backend(layer)
    assert backend is not None
    before = read_weight(layer, backend)
    with torch.no_grad():
        layer.eval()(torch.randn(2, d_in))
    # Scales in bfloat16: 8 bits of mantissa.
    torch.testing.assert_close(read_weight(layer, backend), before, rtol=2**-8, atol=1e-6)


def test_the_forward_pass_uses_the_weight_that_is_read(
    mergeable_scheme: Any, base_folder: str, quantized_config: Any
) -> None:
    model = get_peft_model(mergeable_scheme.quantize(base_folder), quantized_config("sora")).eval()
    x = torch.randn(2, 64)
    for layer in wrapped(model):
        with torch.no_grad():
            bias = layer.get_base_layer().bias
            found = layer.base_layer(x) - (0 if bias is None else bias)
            expected = x @ layer.get_base_weight().T
        # bitsandbytes computes in bfloat16 or with 8-bit inputs.
        torch.testing.assert_close(found, expected, atol=0.03 * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize("method", ["qaa", "sora"])
def test_quantised_activations_infer_and_merge_but_are_an_error_in_training(
    scheme_named: Any, base_folder: str, quantized_config: Any, tokens: Tensor, method: str
) -> None:
    scheme_named("torchao-int8")
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig

    config = TorchAoConfig(quant_type=Int8DynamicActivationInt8WeightConfig())
    base = AutoModelForCausalLM.from_pretrained(base_folder, quantization_config=config)
    model = get_peft_model(base, quantized_config(method))
    before = model.eval()(tokens).logits
    with pytest.raises(ConfigError, match="The base layers must pass gradients on for training"):
        model.train()(input_ids=tokens, labels=tokens)
    with torch.no_grad():
        torch.testing.assert_close(model(tokens).logits, before)
    if method == "sora":
        with pytest.warns(UserWarning, match="Merging rounds weights quantised by torchao"):
            model.eval().merge_adapter()
        assert (model(tokens).logits - before).norm() < 0.2 * before.norm()


def test_a_weight_quantised_without_transformers_can_be_trained_around_but_not_merged_into(
    scheme_named: Any,
) -> None:
    scheme_named("torchao-int8")
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    model = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 4))
    quantize_(model, Int8WeightOnlyConfig())
    adapted: Any = get_peft_model(model, SoRAConfig(target_modules=["0", "1"], init_weights=False))
    adapted(torch.randn(2, 8)).sum().backward()
    assert all(parameter.grad is not None for parameter in adapted.parameters() if parameter.requires_grad)
    with pytest.raises(NotMergeableError, match="quantised by torchao without transformers' TorchAoConfig"):
        adapted.merge_and_unload()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("load", [{"load_in_8bit": True}, {"load_in_4bit": True}])
def test_half_precision_goes_in_and_out_around_a_float32_adapter(
    scheme_named: Any,
    base_folder: str,
    quantized_config: Any,
    method: str,
    tokens: Tensor,
    dtype: torch.dtype,
    load: dict[str, bool],
) -> None:
    scheme_named("bnb-nf4")
    compute = {"bnb_4bit_compute_dtype": dtype} if "load_in_4bit" in load else {}
    config = BitsAndBytesConfig(**load, **compute)
    base = AutoModelForCausalLM.from_pretrained(base_folder, quantization_config=config, dtype=dtype)
    model = get_peft_model(base, quantized_config(method)).train()
    assert {parameter.dtype for parameter in model.parameters() if parameter.requires_grad} == {torch.float32}
    result = model(input_ids=tokens, labels=tokens)
    assert result.logits.dtype == dtype
    result.loss.backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert all(parameter.grad.isfinite().all() for parameter in trained)
    for layer in wrapped(model):
        x = torch.randn(2, 64, dtype=dtype)
        assert layer(x).dtype == dtype
        assert layer.branch(x, "default").dtype == torch.float32


def test_rows_of_a_batch_have_adapters_of_their_own(
    scheme: Any, base_folder: str, quantized_config: Any, tokens: Tensor
) -> None:
    model: Any = get_peft_model(scheme.quantize(base_folder), quantized_config("qaa"))
    model.add_adapter("second", quantized_config("qaa"))
    model.eval()
    with torch.no_grad():
        alone = []
        for row, name in zip(tokens.split(1), ["default", "second"], strict=False):
            model.set_adapter(name)
            alone.append(model(row).logits)
        with model.disable_adapter():
            alone.append(model(tokens[2:]).logits)
        mixed = model(tokens, adapter_names=["default", "second", "__base__"]).logits
    # 8-bit products round each row by itself, bfloat16 products of other shapes round otherwise.
    torch.testing.assert_close(mixed, torch.cat(alone), atol=2e-3, rtol=0)


def test_an_adapter_trained_around_one_quantisation_loads_around_another(
    scheme_named: Any, base_folder: str, quantized_config: Any, tokens: Tensor, kept_folder: str
) -> None:
    trained = get_peft_model(
        prepare_model_for_kbit_training(scheme_named("bnb-nf4").quantize(base_folder)),
        quantized_config("sora"),
    ).eval()
    trained.save_pretrained(kept_folder)
    plain = AutoModelForCausalLM.from_pretrained(base_folder)
    loaded = PeftModel.from_pretrained(plain, kept_folder)
    with torch.no_grad():
        found, expected = loaded(tokens).logits, trained(tokens).logits
    assert (found - expected).norm() < 0.3 * expected.norm()
    auto = AutoPeftModelForCausalLM.from_pretrained(
        kept_folder, quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    )
    with torch.no_grad():
        torch.testing.assert_close(auto(tokens).logits, expected)
    for one, other in zip(wrapped(loaded), wrapped(trained), strict=True):
        torch.testing.assert_close(one.get_delta_weight("default"), other.get_delta_weight("default"))


def test_a_name_that_no_layer_has_is_an_error_with_the_names_of_quantised_layers(
    scheme: Any, base_folder: str
) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'q_proj'"):
        get_peft_model(scheme.quantize(base_folder), QAAConfig(target_modules=["q_projj"]))


@pytest.mark.parametrize("method", ["qaa", "sora"])
def test_all_linear_takes_the_quantised_layers_but_not_the_output(
    scheme: Any, method: str, base_folder: str, quantized_config: Any, tokens: Tensor
) -> None:
    model: Any = get_peft_model(
        scheme.quantize(base_folder), quantized_config(method, target_modules="all-linear")
    )
    assert len(wrapped(model)) == 14
    assert all(layer.quantization_backend is not None for layer in wrapped(model))
    model.add_adapter("second", quantized_config(method, target_modules="all-linear"))
    assert len(wrapped(model)) == 14
    model.eval().set_adapter("second")
    with torch.no_grad():
        assert model(tokens).logits.isfinite().all()


def test_what_counts_as_a_quantised_linear_layer_of_another_class() -> None:
    plain = [nn.Linear(2, 2), nn.Embedding(2, 2), nn.Conv2d(2, 2, 1), nn.ReLU(), nn.LayerNorm(2)]
    assert not any(is_quantized_linear(module) for module in plain)


@pytest.mark.parametrize("name", ["hqq", "gptq", "awq"])
def test_quantised_linear_layers_of_other_classes_are_found(
    scheme_named: Any, name: str, base_folder: str
) -> None:
    model = scheme_named(name).quantize(base_folder)
    found = [module for module in model.modules() if is_quantized_linear(module)]
    assert len(found) == 14
    assert not any(isinstance(module, nn.Linear) for module in found)
