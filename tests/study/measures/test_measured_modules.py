"""The measured modules are those of the architecture, whatever the method."""

from pathlib import Path

import pytest
from tests.study.measures.test_untouched import NEEDED
from tests.study.measures.trained_models import trained
from tests.study.tiny_models import LAYERS
from transformers import LlamaConfig, LlamaForCausalLM

from amplitune.study.measures.measured_modules import measured_modules
from amplitune.study.measures.untouched import untouched

NAMES = {
    "llama": ("model.layers.{}", "model.layers.{}.self_attn.q_proj", "model.layers.{}.self_attn.v_proj"),
    "gpt2": ("transformer.h.{}", "transformer.h.{}.attn.c_attn"),
    "bert": (
        "bert.encoder.layer.{}",
        "bert.encoder.layer.{}.attention.self.query",
        "bert.encoder.layer.{}.attention.self.value",
    ),
}


@pytest.mark.parametrize("model", list(NAMES))
@pytest.mark.parametrize("method", ["base", "full", "lora", "prefix", "sora", "qaa"])
def test_the_same_for_every_method(tiny: Path, model: str, method: str) -> None:
    expected = [name.format(i) for i in range(LAYERS) for name in NAMES[model]]
    found = measured_modules(trained(tiny, method, model).model)
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("method", list(NEEDED))
def test_also_for_methods_that_replace_modules(tiny: Path, method: str) -> None:
    run = trained(tiny, {"method": method, "config": NEEDED[method]})
    with untouched(run.model, run.load) as base:
        found = measured_modules(base)
    assert sorted(found) == sorted(name.format(i) for i in range(LAYERS) for name in NAMES["llama"])


def test_an_architecture_without_a_default_has_its_projections_by_name() -> None:
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=3, num_attention_heads=2
        )
    )
    expected = list(measured_modules(model))
    vars(model.config)["model_type"] = "unheard-of"
    assert list(measured_modules(model)) == expected
    assert len(expected) == 9
