"""Merging into a weight that two modules share: the other one stays as it is."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model
from tests.adapters.conftest import Architecture, MakeConfig
from tests.adapters.test_lifecycle import logits
from torch import Tensor, nn
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from amplitune.errors import NotMergeableError


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


@pytest.mark.parametrize("targets", [["embed_tokens"], ["lm_head"], r".*encoder\.embed_tokens"])
def test_an_encoder_decoder_model_shares_one_weight_four_times(
    make_config: MakeConfig, llama: Architecture, tokens: Tensor, tmp_path: Path, targets: Any
) -> None:
    config = BartConfig(
        vocab_size=50,
        d_model=8,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=8,
        decoder_ffn_dim=8,
        max_position_embeddings=16,
        scale_embedding=True,
    )
    base = BartForConditionalGeneration(config).eval()
    assert len({id(parameter) for name, parameter in base.named_parameters() if "embed_tokens" in name}) <= 1
    model: Any = get_peft_model(base, make_config("sora", llama, target_modules=targets, task_type=None))
    adapted = logits(model.eval(), tokens)
    with pytest.warns(UserWarning, match=r"lm_head and .*decoder\.embed_tokens and .* and \S*shared share"):
        merged = model.merge_and_unload()
    torch.testing.assert_close(logits(merged, tokens), adapted)
    merged.save_pretrained(tmp_path)
    loaded = BartForConditionalGeneration.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(logits(loaded, tokens), adapted)


def test_one_module_at_two_places_is_not_merged(make_config: MakeConfig, llama: Architecture) -> None:
    shared = nn.Linear(4, 4)
    net = nn.Sequential(shared, nn.ReLU(), shared)
    model: Any = get_peft_model(net, make_config("sora", llama, target_modules=["0"], task_type=None))
    x = torch.randn(2, 4)
    adapted = model(x)
    for merge in (model.merge_adapter, model.merge_and_unload):
        with pytest.raises(NotMergeableError, match="0 and 2 are one module, with an adapter at the first"):
            merge()
    assert torch.equal(model(x), adapted)


def test_nothing_is_untied_for_other_targets(
    gpt2: Architecture, make_config: MakeConfig, recwarn: pytest.WarningsRecorder
) -> None:
    base: GPT2LMHeadModel = gpt2.model()
    model: Any = get_peft_model(base, make_config("sora", gpt2))
    model.merge_and_unload()
    assert base.lm_head.weight is base.transformer.wte.weight
    assert not [warning for warning in recwarn if "tied" in str(warning.message)]
