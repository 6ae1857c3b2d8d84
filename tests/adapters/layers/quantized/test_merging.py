import copy
import pickle
from typing import Any

import pytest
import torch
from peft import get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from amplitune.adapters.layers.adapter_layer import AdapterLayer
from amplitune.errors import NotMergeableError

pytestmark = pytest.mark.filterwarnings("ignore:Merging rounds weights:UserWarning")


def wrapped(model: Any) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, AdapterLayer)]


def logits(model: Any, tokens: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(tokens).logits
    return found


@pytest.fixture
def tokens() -> Tensor:
    return torch.randint(0, 50, (3, 7), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def adapted(base_folder: str, quantized_config: Any) -> Any:
    def make(scheme: Any, method: str = "sora", **fields: Any) -> Any:
        base = scheme.quantize(base_folder)
        torch.manual_seed(100)
        return get_peft_model(base, quantized_config(method, **fields)).eval()

    return make


def step(layer: Any, weight: Tensor) -> Tensor:
    """How far apart two neighbouring values of a quantised weight can be, for each of its rows."""
    levels = {"bnb 8bit": 127, "torchao": 7, "hqq": 7, "bnb 4bit": 3}[layer.quantization_backend.backend_name]
    return weight.abs().amax(1, keepdim=True) / levels + 1e-3


@pytest.mark.parametrize("safe_merge", [False, True])
def test_merging_adds_the_adapter_to_the_weight_and_unmerging_puts_the_weight_back(
    mergeable_scheme: Any, adapted: Any, tokens: Tensor, safe_merge: bool
) -> None:
    model = adapted(mergeable_scheme)
    before = logits(model, tokens)
    weights = [layer.get_base_weight().clone() for layer in wrapped(model)]
    with pytest.warns(UserWarning, match="Merging rounds weights quantised by"):
        model.merge_adapter(safe_merge=safe_merge)
    assert len(weights) == 6
    for layer, weight in zip(wrapped(model), weights, strict=True):
        wanted = weight + layer.get_delta_weight("default")
        merged = layer.get_base_weight()
        assert merged.dtype == weight.dtype
        assert ((merged - wanted).abs() <= step(layer, wanted)).all()
        assert (merged - wanted).norm() < 0.5 * (merged - weight).norm()
        assert not any(parameter.requires_grad for parameter in layer.base_layer.parameters())
    merged_logits = logits(model, tokens)
    assert (merged_logits - before).norm() < 0.5 * before.norm()
    unloaded = copy.deepcopy(model).merge_and_unload()
    assert not wrapped(unloaded)
    torch.testing.assert_close(logits(unloaded, tokens), merged_logits)
    model.unmerge_adapter()
    for layer, weight in zip(wrapped(model), weights, strict=True):
        assert torch.equal(layer.get_base_weight(), weight)
    assert torch.equal(logits(model, tokens), before)


def test_a_bias_stays_when_the_weight_changes(mergeable_scheme: Any, adapted: Any) -> None:
    model = adapted(mergeable_scheme)
    with_bias = [layer for layer in wrapped(model) if layer.get_base_layer().bias is not None]
    biases = [layer.get_base_layer().bias.clone() for layer in with_bias]
    assert len(biases) == 4
    model.merge_adapter()
    for layer, bias in zip(with_bias, biases, strict=True):
        assert torch.equal(layer.get_base_layer().bias, bias)


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("control", {"features": "projection"}),
        ("qaa", {"readout": "interferometric", "norm": "restore"}),
    ],
)
@pytest.mark.parametrize("name", ["bnb-int8", "bnb-nf4", "torchao-int8", "hqq"])
def test_an_adapter_s_bias_is_added_to_the_layer_s_and_taken_out(
    scheme_named: Any, name: str, adapted: Any, tokens: Tensor, method: str, fields: dict[str, Any]
) -> None:
    model = adapted(
        scheme_named(name), method, target_modules=["q_proj", "v_proj"], up_proj_bias=True, **fields
    )
    before = logits(model, tokens)
    biases = [layer.get_base_layer().bias.clone() for layer in wrapped(model)]
    weights = [layer.get_base_weight().clone() for layer in wrapped(model)]
    model.merge_adapter()
    assert len(biases) == 4
    for layer, bias, weight in zip(wrapped(model), biases, weights, strict=True):
        torch.testing.assert_close(layer.get_base_layer().bias, bias + layer.get_delta_bias("default"))
        wanted = weight + layer.get_delta_weight("default")
        assert ((layer.get_base_weight() - wanted).abs() <= step(layer, wanted)).all()
    model.unmerge_adapter()
    for layer, bias, weight in zip(wrapped(model), biases, weights, strict=True):
        torch.testing.assert_close(layer.get_base_layer().bias, bias)
        assert torch.equal(layer.get_base_weight(), weight)
    torch.testing.assert_close(logits(model, tokens), before)


def test_two_adapters_are_merged_and_taken_out_together(
    mergeable_scheme: Any, adapted: Any, quantized_config: Any, tokens: Tensor
) -> None:
    model = adapted(mergeable_scheme)
    model.add_adapter("second", quantized_config("sora", r=2))
    model.eval()
    # bitsandbytes rounds 4-bit scales at the first inference on a CPU with AVX512-BF16.
    logits(model, tokens)
    layer = wrapped(model)[0]
    weight = layer.get_base_weight().clone()
    model.merge_adapter(["default"])
    model.merge_adapter(["second"])
    wanted = weight + layer.get_delta_weight("default") + layer.get_delta_weight("second")
    assert ((layer.get_base_weight() - wanted).abs() <= 2 * step(layer, wanted)).all()
    with model.disable_adapter():
        logits(model, tokens)
    assert not layer.merged
    assert torch.equal(layer.get_base_weight(), weight)


# torchao's own layers cannot be pickled.
@pytest.mark.parametrize(
    ("name", "clone"),
    [
        ("bnb-int8", copy.deepcopy),
        ("bnb-nf4", copy.deepcopy),
        ("torchao-int8", copy.deepcopy),
        ("bnb-int8", lambda layer: pickle.loads(pickle.dumps(layer))),
        ("bnb-nf4", lambda layer: pickle.loads(pickle.dumps(layer))),
    ],
)
def test_a_copy_of_a_merged_layer_unmerges_by_itself(
    scheme_named: Any, name: str, adapted: Any, tokens: Tensor, clone: Any
) -> None:
    model = adapted(scheme_named(name))
    before = logits(model, tokens)
    layer = wrapped(model)[0]
    model.merge_adapter()
    merged = logits(model, tokens)
    copied = clone(layer)
    x = torch.randn(2, 64)
    with torch.no_grad():
        expected = layer.base_layer(x)
        copied.unmerge()
        assert not copied.merged
        assert layer.merged
        assert torch.equal(layer.base_layer(x), expected)
        model.unmerge_adapter()
        torch.testing.assert_close(copied(x), layer(x))
    assert torch.equal(logits(model, tokens), before)
    assert not torch.equal(merged, before)


def test_weights_that_cannot_be_written_are_an_error_before_anything_is_changed(
    forward_only_scheme: Any, adapted: Any, tokens: Tensor
) -> None:
    # One layer that is not quantised would be merged first.
    model = adapted(forward_only_scheme)
    target = wrapped(model)[0]
    torch.manual_seed(0)
    target.base_layer, target.quantization_backend = nn.Linear(64, 64), None
    before = logits(model, tokens)
    for merge in (model.merge_adapter, model.merge_and_unload):
        with pytest.raises(NotMergeableError, match="quantised by gptq, and peft cannot"):
            merge()
    assert not any(layer.merged for layer in wrapped(model))
    assert torch.equal(logits(model, tokens), before)


def test_qaa_says_that_it_cannot_be_merged_and_can_be_unloaded(
    scheme: Any, adapted: Any, base_folder: str, tokens: Tensor
) -> None:
    model = adapted(scheme, "qaa")
    with pytest.raises(NotMergeableError, match="A QAA adapter must stay beside its base layer"):
        model.merge_and_unload()
    plain = logits(scheme.quantize(base_folder), tokens)
    torch.testing.assert_close(logits(model.unload(), tokens), plain)


@pytest.mark.parametrize("load", [{"load_in_8bit": True}, {"load_in_4bit": True}])
def test_layers_left_out_of_quantisation_merge_as_ever(
    scheme_named: Any, base_folder: str, quantized_config: Any, tokens: Tensor, load: dict[str, bool]
) -> None:
    scheme_named("bnb-int8")
    config = BitsAndBytesConfig(llm_int8_skip_modules=["v_proj", "lm_head"], **load)
    base = AutoModelForCausalLM.from_pretrained(base_folder, quantization_config=config)
    torch.manual_seed(100)
    model = get_peft_model(base, quantized_config("sora")).eval()
    plain = [layer for layer in wrapped(model) if layer.quantization_backend is None]
    assert [type(layer.base_layer) for layer in plain] == [nn.Linear, nn.Linear]
    before = logits(model, tokens)
    weight = plain[0].get_base_weight().clone()
    model.merge_adapter()
    torch.testing.assert_close(plain[0].get_base_weight(), weight + plain[0].get_delta_weight("default"))
    model.unmerge_adapter()
    torch.testing.assert_close(plain[0].get_base_weight(), weight)
    torch.testing.assert_close(logits(model, tokens), before)
