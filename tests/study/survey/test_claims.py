"""What the survey says of merging, linearity, operations and memory, tried on a model with weights."""

from typing import Any

import peft
import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from tests.study.survey.configs import SETTINGS, with_weights
from torch.utils.flop_counter import FlopCounterMode

from amplitune.study.methods.registry import Method, apply_method
from amplitune.study.survey.catalogue import ENTRIES, rows, settings_of
from amplitune.study.survey.formula import evaluate
from amplitune.study.survey.quantum import ANGLES
from amplitune.study.survey.shapes import adapted_sites, model_names

# Full fine-tuning has no adapter; X-LoRA needs trained ones to mix.
UNTRIED = {"full", "xlora"}
TRIED = [method for method in rows() if method.name not in UNTRIED]
NEED_TASKS = {"poly", "multitask_prompt_tuning"}

# Of these no linear module is adapted by itself: norms, embeddings, attention, whole layers.
NOT_OF_A_MODULE = {"ln_tuning", "trainable_tokens", "shadow"}
NOT_OF_A_MODULE |= {name for name, entry in ENTRIES.items() if entry.group == "soft prompts"}
OF_A_MODULE = [method for method in TRIED if method.name not in NOT_OF_A_MODULE]


def trained(method: Method) -> Any:
    """The tiny Llama, its projections with biases, and an adapter as if trained: each number a bit off."""
    base = with_weights("llama", attention_bias=True, mlp_bias=True)
    own = SETTINGS.get(method.name, {})
    settings = {**method.config, **settings_of(method, base, model_names(base), own), **own}
    model: Any = apply_method(base, method, "generation", settings)
    model.eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def tasks(method: Method, count: int = 1) -> dict[str, torch.Tensor]:
    return {"task_ids": torch.zeros(count, dtype=torch.long)} if method.name in NEED_TASKS else {}


def logits(model: Any, method: Method) -> torch.Tensor:
    ids = torch.arange(3, 21).reshape(2, 9)
    with torch.no_grad():
        # Virtual tokens in front have logits too.
        return torch.as_tensor(model(input_ids=ids, **tasks(method, 2)).logits)[:, -ids.shape[1] :]


def adapted_layers(model: Any) -> list[tuple[str, Any]]:
    """The adapted linear modules with their names in the bare model."""
    found = [
        (name.removeprefix("base_model.model."), module)
        for name, module in model.named_modules()
        if isinstance(module, BaseTunerLayer) and isinstance(module.get_base_layer(), torch.nn.Linear)
    ]
    assert found
    return found


def test_every_method_is_tried() -> None:
    assert len(TRIED) == 59 and len(NOT_OF_A_MODULE) == 10 and len(OF_A_MODULE) == 49


@pytest.mark.parametrize("method", TRIED, ids=lambda method: method.name)
def test_what_is_said_to_merge_merges(method: Method) -> None:
    model = trained(method)
    before = logits(model, method)
    bare = logits(with_weights("llama", attention_bias=True, mlp_bias=True), Method("base", "nothing"))
    assert (before - bare).abs().max() > 1e-3, "the adapter does something"
    if ENTRIES[method.name].mergeable:
        merged = model.merge_and_unload()
        assert not isinstance(merged, peft.PeftModel)
        assert not any(isinstance(module, BaseTunerLayer) for module in merged.modules())
        torch.testing.assert_close(logits(merged, method), before, rtol=0, atol=1e-5)
    else:
        # peft's prompt methods have no such method at all.
        with pytest.raises((NotImplementedError, AttributeError)):
            model.merge_and_unload()


@pytest.mark.parametrize("method", OF_A_MODULE, ids=lambda method: method.name)
def test_what_is_said_to_be_linear_is(method: Method) -> None:
    """A change f is affine just where f(x + y) + f(0) = f(x) + f(y)."""
    layer = adapted_layers(trained(method))[0][1]
    generator = torch.Generator().manual_seed(2)
    x, y = (torch.randn(1, 3, 64, generator=generator) for _ in range(2))

    def change(value: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return torch.as_tensor(layer(value, **tasks(method)) - layer.get_base_layer()(value))

    size = float(change(x).abs().max())
    defect = float((change(x + y) + change(torch.zeros_like(x)) - change(x) - change(y)).abs().max())
    assert size > 1e-3
    assert (defect > 0.02 * size) == ENTRIES[method.name].nonlinear, f"defect {defect:.2g} of {size:.2g}"
    assert defect > 0.02 * size or defect < 1e-4 * size


def said(method: Method, model: Any, formula: str, name: str) -> int:
    """What a formula of the survey gives at a module of the model."""
    base = with_weights("llama", attention_bias=True, mlp_bias=True)
    config = model.peft_config["default"]
    sites = adapted_sites(base, config)
    (site,) = (site for site in sites if site.name == name)
    return evaluate(formula, ENTRIES[method.name].names_at(config, sites, model_names(base), site))


def numbers_kept(layer: Any, tokens: int, method: Method) -> float:
    """How many numbers a layer keeps for its backward pass, its own weights apart."""
    fixed = {t.untyped_storage().data_ptr() for t in (*layer.parameters(), *layer.buffers())}
    kept: dict[int, float] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        # Sparse ones hold a changed weight, whose size does not go by tokens.
        if tensor.layout is torch.strided and tensor.untyped_storage().data_ptr() not in fixed:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() / 4
        return tensor

    x = torch.randn(1, tokens, layer.get_base_layer().in_features, requires_grad=True) * 1.0
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        # Alive until counted, so that no storage is another's former place.
        output = layer(x, **tasks(method))
    assert output.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize("method", OF_A_MODULE, ids=lambda method: method.name)
def test_the_memory_of_a_token_is_what_is_said(method: Method) -> None:
    """What 200 tokens more keep; ratios of one number a token are left out of the formulas."""
    model = trained(method).train()
    for name, layer in adapted_layers(model)[:2]:
        measured = (numbers_kept(layer, 300, method) - numbers_kept(layer, 100, method)) / 200
        assert measured == pytest.approx(said(method, model, ENTRIES[method.name].memory, name), rel=0.05)


# Their products are elementwise, in an operator of amplitune's own, or of Fourier transforms.
UNCOUNTED = {"bias", "beft", "road", "ia3", "c3a"} | {
    method.name for method in TRIED if method.peft_type == "QAA"
}


@pytest.mark.parametrize(
    "method",
    [method for method in OF_A_MODULE if method.name not in UNCOUNTED],
    ids=lambda method: method.name,
)
def test_the_products_of_a_token_are_what_is_said(method: Method) -> None:
    """Multiplications in matrix products, counted by torch, beyond those of the bare module."""
    model = trained(method).train()
    for name, layer in adapted_layers(model)[:2]:
        counts = []
        for tokens in (100, 300):
            with FlopCounterMode(display=False) as counter:
                layer(torch.randn(1, tokens, layer.get_base_layer().in_features), **tasks(method))
            counts.append(counter.get_total_flops() / 2)
        measured = (counts[1] - counts[0]) / 200 - layer.get_base_layer().weight.numel()
        # The rotations of the classical twin are elementwise too.
        products = ENTRIES[method.name].time.removeprefix(f"{ANGLES} * D + ")
        assert measured == said(method, model, products, name)


def test_few_methods_are_not_counted() -> None:
    assert len(UNCOUNTED) == 15
