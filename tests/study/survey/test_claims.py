"""What the survey says of merging and of linearity, tried on a model with weights."""

from typing import Any

import peft
import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from tests.study.survey.configs import SETTINGS, with_weights

from amplitune.study.methods import Method, apply_method
from amplitune.study.survey.catalogue import ENTRIES, rows, settings_of
from amplitune.study.survey.shapes import model_names

# Full fine-tuning has no adapter; X-LoRA needs trained ones to mix.
UNTRIED = {"full", "xlora"}
TRIED = [method for method in rows() if method.name not in UNTRIED]
NEED_TASKS = {"poly", "multitask_prompt_tuning"}

# Of these no linear module is adapted by itself: norms, embeddings, attention, whole layers.
NOT_OF_A_MODULE = {"ln_tuning", "trainable_tokens", "shadow"}
NOT_OF_A_MODULE |= {name for name, entry in ENTRIES.items() if entry.group == "soft prompts"}


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


def logits(model: Any, method: Method) -> torch.Tensor:
    ids = torch.arange(3, 21).reshape(2, 9)
    with torch.no_grad():
        tasks = {"task_ids": torch.zeros(2, dtype=torch.long)} if method.name in NEED_TASKS else {}
        # Virtual tokens in front have logits too.
        return torch.as_tensor(model(input_ids=ids, **tasks).logits)[:, -ids.shape[1] :]


def test_every_method_is_tried() -> None:
    assert len(TRIED) == 59 and len(NOT_OF_A_MODULE) == 10


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


@pytest.mark.parametrize(
    "method",
    [method for method in TRIED if method.name not in NOT_OF_A_MODULE],
    ids=lambda method: method.name,
)
def test_what_is_said_to_be_linear_is(method: Method) -> None:
    """A change f is affine just where f(x + y) + f(0) = f(x) + f(y)."""
    model = trained(method)
    layer: Any = next(
        module
        for module in model.modules()
        if isinstance(module, BaseTunerLayer) and isinstance(module.get_base_layer(), torch.nn.Linear)
    )
    generator = torch.Generator().manual_seed(2)
    x, y = (torch.randn(1, 3, 64, generator=generator) for _ in range(2))
    tasks = {"task_ids": torch.zeros(1, dtype=torch.long)} if method.name in NEED_TASKS else {}

    def change(value: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return torch.as_tensor(layer(value, **tasks) - layer.get_base_layer()(value))

    size = float(change(x).abs().max())
    defect = float((change(x + y) + change(torch.zeros_like(x)) - change(x) - change(y)).abs().max())
    assert size > 1e-3
    assert (defect > 0.02 * size) == ENTRIES[method.name].nonlinear, f"defect {defect:.2g} of {size:.2g}"
    assert defect > 0.02 * size or defect < 1e-4 * size
