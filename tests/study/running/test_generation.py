"""Greedy generation: a batch gives what each prompt gives alone, for plain models and with adapters."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from amplitune.errors import DataError
from amplitune.study.data.tasks import Example
from amplitune.study.data.tokens import ensure_pad_token, tokenize_generation, tokenize_prompts
from amplitune.study.metrics.perplexity import perplexity
from amplitune.study.running.generation import check_context, context_length, generate

PROMPTS = [
    "The answer is",
    "Name: Kim\nCity: Oslo\n",
    "Instruction: name a colour\nInput: sky\nAnswer: ",
    "no",
    "yes and no",
]
ADAPTERS = ["base", "lora", "prefix", "prompt"]


def tiny_llama(vocabulary: int) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        # Large weights: at the default scale all prompts get one token, and a wrong position goes unnoticed.
        initializer_range=0.5,
    )
    return LlamaForCausalLM(config)


def tiny_gpt2(vocabulary: int) -> Any:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=vocabulary, n_embd=32, n_layer=2, n_head=4, n_positions=128, initializer_range=0.5
    )
    return GPT2LMHeadModel(config)


def adapted(model: Any, adapter: str) -> Any:
    if adapter == "base":
        return model
    projections = ["q_proj", "v_proj"] if isinstance(model, LlamaForCausalLM) else ["c_attn"]
    configs = {
        "lora": LoraConfig(
            target_modules=projections,
            init_lora_weights=False,
            fan_in_fan_out=projections == ["c_attn"],
            task_type="CAUSAL_LM",
        ),
        "prefix": PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"),
        "prompt": PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"),
    }
    wrapped = get_peft_model(model, configs[adapter])
    if adapter in ("prefix", "prompt"):
        for parameter in wrapped.prompt_encoder.parameters():
            torch.nn.init.normal_(parameter, std=2.0)
    return wrapped


def greedy_by_hand(model: Any, ids: list[int], steps: int, stop: int) -> list[int]:
    """Greedy text by full forward passes of one prompt: no cache, no padding."""
    model.eval()
    grown = list(ids)
    for _ in range(steps):
        batch = torch.tensor([grown])
        with torch.no_grad():
            logits = model(input_ids=batch, attention_mask=torch.ones_like(batch)).logits
        grown.append(int(logits[0, -1].argmax()))
        if grown[-1] == stop:
            break
    return grown[len(ids) :]


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("build", [tiny_llama, tiny_gpt2])
def test_a_batch_gives_what_each_prompt_gives_alone(
    build: Any, adapter: str, llama_like: PreTrainedTokenizerFast
) -> None:
    tokenizer = llama_like
    model = adapted(build(len(tokenizer)), adapter)
    ids = tokenize_prompts(PROMPTS, tokenizer)
    assert len({len(row) for row in ids}) > 3, "lengths differ, so that batches are padded"
    by_hand = [greedy_by_hand(model, row, 6, tokenizer.eos_token_id) for row in ids]
    assert len({tuple(tokens) for tokens in by_hand}) > 3, "prompts get different texts"
    texts = [str(tokenizer.decode(tokens, skip_special_tokens=True)).strip() for tokens in by_hand]
    for batch_size in (1, 2, 16):
        generated = generate(model, tokenizer, PROMPTS, max_new_tokens=6, batch_size=batch_size)
        assert generated.texts == texts
        assert generated.tokens == sum(len(tokens) for tokens in by_hand)
        assert generated.seconds > 0


def test_generation_stops_at_eos(llama_like: PreTrainedTokenizerFast) -> None:
    model = tiny_llama(len(llama_like))
    free = generate(model, llama_like, PROMPTS[:1], max_new_tokens=6)
    tokens = greedy_by_hand(model, tokenize_prompts(PROMPTS[:1], llama_like)[0], 6, -1)
    assert free.tokens == 6
    llama_like.eos_token = llama_like.convert_ids_to_tokens(tokens[2])
    stopped = generate(model, llama_like, PROMPTS[:1], max_new_tokens=6)
    assert stopped.tokens == tokens.index(tokens[2]) + 1 < 6, "EOS is counted"


def test_a_stop_token_of_the_model_holds_as_well(llama_like: PreTrainedTokenizerFast) -> None:
    model = tiny_llama(len(llama_like))
    tokens = greedy_by_hand(model, tokenize_prompts(PROMPTS[:1], llama_like)[0], 6, -1)
    model.generation_config.eos_token_id = [llama_like.eos_token_id, tokens[1]]
    expected = tokens.index(tokens[1]) + 1
    assert generate(model, llama_like, PROMPTS[:1], max_new_tokens=6).tokens == expected


def test_decoding_is_greedy_whatever_the_model_prefers(llama_like: PreTrainedTokenizerFast) -> None:
    model = tiny_llama(len(llama_like))
    greedy = generate(model, llama_like, PROMPTS, max_new_tokens=6)
    model.generation_config.update(
        do_sample=True, temperature=9.0, top_k=3, repetition_penalty=5.0, no_repeat_ngram_size=1, num_beams=3
    )
    assert generate(model, llama_like, PROMPTS, max_new_tokens=6).texts == greedy.texts


def test_the_models_mode_is_kept(llama_like: PreTrainedTokenizerFast) -> None:
    model = tiny_llama(len(llama_like))
    for training in (True, False):
        model.train(training)
        generate(model, llama_like, PROMPTS[:1], max_new_tokens=2)
        assert model.training is training


def test_no_prompts_give_no_texts(llama_like: PreTrainedTokenizerFast) -> None:
    generated = generate(tiny_llama(len(llama_like)), llama_like, [], max_new_tokens=2)
    assert (generated.texts, generated.tokens) == ([], 0)


def test_context_counts_virtual_tokens(llama_like: PreTrainedTokenizerFast) -> None:
    assert context_length(tiny_llama(len(llama_like))) == 128
    assert context_length(tiny_gpt2(len(llama_like))) == 128
    assert context_length(adapted(tiny_llama(len(llama_like)), "lora")) == 128
    assert context_length(adapted(tiny_llama(len(llama_like)), "prefix")) == 124


def test_prompts_beyond_the_context_are_refused(llama_like: PreTrainedTokenizerFast) -> None:
    model = tiny_llama(len(llama_like))
    with pytest.raises(
        DataError,
        match=r"(?s)`max_new_tokens` of task 't' must fit.*prompt 1 .*has 5\.\nSet max_new_tokens: 3",
    ):
        check_context([[1], [1] * 5], 4, 8, task="t")
    with pytest.raises(
        DataError, match=r"shorter than the model's context of 8 tokens, but prompt 0 .*has 8"
    ):
        check_context([[1] * 8], 4, 8)
    with pytest.raises(DataError, match="at least one token, but prompt 1"):
        check_context([[1], []], 4, None)
    check_context([[1] * 4], 4, 8)
    with pytest.raises(DataError, match="context of 128 tokens"):
        generate(model, llama_like, ["yes " * 200], max_new_tokens=2)


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("build", [tiny_llama, tiny_gpt2])
def test_perplexity_is_the_mean_over_answer_tokens(
    build: Any, adapter: str, llama_like: PreTrainedTokenizerFast
) -> None:
    model = adapted(build(len(llama_like)), adapter)
    pad = ensure_pad_token(llama_like)
    answers = ["yes", "Kim lives in Oslo.", "blue", "the question is no", "no"]
    examples = [Example(prompt, answer) for prompt, answer in zip(PROMPTS, answers, strict=True)]
    rows = tokenize_generation(examples, llama_like, 100)
    model.eval()
    losses = []
    for row in rows:
        ids = torch.tensor([row["input_ids"]])
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, -ids.shape[1] :]
        for position, trained in enumerate(row["completion_mask"]):
            if trained:
                probabilities = logits[0, position - 1].double().softmax(-1)
                losses.append(-float(probabilities[row["input_ids"][position]].log()))
    expected = float(torch.tensor(losses, dtype=torch.float64).mean().exp())
    assert len(losses) == sum(sum(row["completion_mask"]) for row in rows)
    for batch_size in (1, 2, 16):
        assert perplexity(model, rows, pad, batch_size)["perplexity"] == pytest.approx(expected, rel=1e-4)


def test_perplexity_of_uniform_guessing_is_the_vocabulary(llama_like: PreTrainedTokenizerFast) -> None:
    model = tiny_llama(len(llama_like))
    torch.nn.init.zeros_(model.lm_head.weight)
    rows = tokenize_generation([Example("a", "b"), Example("Name", "Kim lives")], llama_like, 100)
    assert perplexity(model, rows, 0)["perplexity"] == pytest.approx(len(llama_like))
    assert perplexity(model, [], 0) == {}


def test_perplexity_beyond_a_float_is_infinite(llama_like: PreTrainedTokenizerFast) -> None:
    model = tiny_llama(len(llama_like))
    model.lm_head.weight.data *= 1e4
    rows = tokenize_generation([Example("a", "b")], llama_like, 100)
    for training in (True, False):
        model.train(training)
        assert perplexity(model, rows, 0)["perplexity"] == float("inf")
        assert model.training is training
