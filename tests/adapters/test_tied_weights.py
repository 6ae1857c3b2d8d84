"""Merging into a weight that two modules share: the other one stays as it is."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model
from tests.adapters.conftest import Architecture, MakeConfig
from tests.adapters.test_lifecycle import logits
from torch import Tensor
from transformers import GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM


@pytest.fixture(params=["gpt2", "llama"])
def tied(request: pytest.FixtureRequest) -> tuple[Any, str]:
    """Give a model whose head is tied to its embedding, and the embedding's name."""
    torch.manual_seed(0)
    if request.param == "gpt2":
        architecture: Architecture = request.getfixturevalue("gpt2")
        return architecture.model(), "wte"
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=24,
        intermediate_size=20,
        num_hidden_layers=1,
        num_attention_heads=4,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).eval(), "embed_tokens"


@pytest.mark.parametrize("place", ["embedding", "head", "both"])
def test_a_merge_changes_the_adapted_module_alone(
    tied: tuple[Any, str], place: str, make_config: MakeConfig, llama: Architecture, tokens: Tensor
) -> None:
    base, name = tied
    targets = {"embedding": [name], "head": ["lm_head"], "both": [name, "lm_head"]}[place]
    head, embedding = base.lm_head, base.get_input_embeddings()
    assert head.weight is embedding.weight
    start = head.weight.detach().clone()
    model: Any = get_peft_model(base, make_config("sora", llama, target_modules=targets)).eval()
    adapted = logits(model, tokens)
    with pytest.warns(UserWarning, match=rf"lm_head and \S*{name} share a weight"):
        model.merge_adapter()
    assert head.weight is not embedding.weight
    torch.testing.assert_close(logits(model, tokens), adapted)
    changed = [not torch.equal(module.weight, start) for module in (embedding, head)]
    assert changed == [place != "head", place != "embedding"]
    model.unmerge_adapter()
    torch.testing.assert_close(logits(model, tokens), adapted)


def test_a_merged_model_is_saved_untied(
    tied: tuple[Any, str], make_config: MakeConfig, llama: Architecture, tokens: Tensor, tmp_path: Path
) -> None:
    base, name = tied
    model: Any = get_peft_model(base, make_config("sora", llama, target_modules=[name])).eval()
    adapted = logits(model, tokens)
    with pytest.warns(UserWarning, match="no longer tied"):
        merged = model.merge_and_unload()
    torch.testing.assert_close(logits(merged, tokens), adapted)
    merged.save_pretrained(tmp_path)
    loaded = type(merged).from_pretrained(tmp_path).eval()
    torch.testing.assert_close(logits(loaded, tokens), adapted)


def test_nothing_is_untied_for_other_targets(
    gpt2: Architecture, make_config: MakeConfig, recwarn: pytest.WarningsRecorder
) -> None:
    base: GPT2LMHeadModel = gpt2.model()
    model: Any = get_peft_model(base, make_config("sora", gpt2))
    model.merge_and_unload()
    assert base.lm_head.weight is base.transformer.wte.weight
    assert not [warning for warning in recwarn if "tied" in str(warning.message)]
