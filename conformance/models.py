"""Tiny random models in folders that are named like the ones on the hub that peft's tests open."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import LoraConfig
from transformers.utils.logging import disable_progress_bar


@dataclass(frozen=True)
class TinyModel:
    """A model of the hub: the names of its classes in transformers, and the fields of its config."""

    architecture: str
    config: str
    fields: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Make the model, the same each time, and save it."""
        config = getattr(transformers, self.config)(**self.fields)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = getattr(transformers, self.architecture)(config)
        model.save_pretrained(folder)


_TOKENS = {"pad_token_id": 0, "bos_token_id": 3, "eos_token_id": 4}
# Weights so large that what an adapter changes shows in the tokens that a model generates.
_SPREAD = {"initializer_range": 0.3}
_SIZES: dict[str, Any] = {
    "vocab_size": 128,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    **_SPREAD,
}
_ENCODER = _SIZES | {"type_vocab_size": 2, "pad_token_id": 0}
_DECODER = _SIZES | _TOKENS | {"num_key_value_heads": 2}
_GPT = {"vocab_size": 128, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 64} | _SPREAD | _TOKENS

_OPT = TinyModel(
    "OPTForCausalLM",
    "OPTConfig",
    {
        "vocab_size": 128,
        "hidden_size": 16,
        "word_embed_proj_dim": 16,
        "ffn_dim": 4,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "init_std": 0.3,
    }
    | _TOKENS,
)
_GPT2 = TinyModel("GPT2LMHeadModel", "GPT2Config", _GPT)
_T5 = TinyModel(
    "T5ForConditionalGeneration",
    "T5Config",
    {
        "vocab_size": 128,
        "d_model": 16,
        "d_kv": 4,
        "d_ff": 24,
        "num_layers": 2,
        "num_decoder_layers": 2,
        "num_heads": 4,
        "decoder_start_token_id": 0,
        "pad_token_id": 0,
        "eos_token_id": 4,
    },
)
_BART = TinyModel(
    "BartForConditionalGeneration",
    "BartConfig",
    {
        "vocab_size": 128,
        "d_model": 16,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 24,
        "decoder_ffn_dim": 24,
        "max_position_embeddings": 64,
        "init_std": 0.3,
        "decoder_start_token_id": 4,
        "forced_eos_token_id": None,
    }
    | _TOKENS,
)
_BERT = TinyModel("BertForSequenceClassification", "BertConfig", _ENCODER)

MODELS: dict[str, TinyModel] = {
    "bert-base-uncased": _BERT,
    "gpt2": _GPT2,
    "hf-internal-testing/tiny-random-Gemma3ForCausalLM": TinyModel(
        "Gemma3ForCausalLM", "Gemma3TextConfig", _DECODER | {"head_dim": 4}
    ),
    "hf-internal-testing/tiny-random-MistralForCausalLM": TinyModel(
        "MistralForCausalLM", "MistralConfig", _DECODER
    ),
    "hf-internal-testing/tiny-random-gpt2": _GPT2,
    "peft-internal-testing/opt-125m": _OPT,
    "peft-internal-testing/tiny-dummy-qwen2": TinyModel("Qwen2ForCausalLM", "Qwen2Config", _DECODER),
    "peft-internal-testing/tiny-random-BartForConditionalGeneration": _BART,
    "peft-internal-testing/tiny-random-BertForSequenceClassification": _BERT,
    "peft-internal-testing/tiny-random-BertModel": TinyModel("BertModel", "BertConfig", _ENCODER),
    "peft-internal-testing/tiny-random-DebertaModel": TinyModel("DebertaModel", "DebertaConfig", _ENCODER),
    "peft-internal-testing/tiny-random-DebertaV2Model": TinyModel(
        "DebertaV2Model", "DebertaV2Config", _ENCODER
    ),
    "peft-internal-testing/tiny-random-GPT2LMHeadModel": _GPT2,
    "peft-internal-testing/tiny-random-GPTJForCausalLM": TinyModel(
        "GPTJForCausalLM", "GPTJConfig", _GPT | {"rotary_dim": 4}
    ),
    "peft-internal-testing/tiny-random-OPTForCausalLM": _OPT,
    "peft-internal-testing/tiny-random-RobertaForSequenceClassification": TinyModel(
        "RobertaForSequenceClassification", "RobertaConfig", _ENCODER
    ),
    "peft-internal-testing/tiny-random-RobertaModel": TinyModel("RobertaModel", "RobertaConfig", _ENCODER),
    "peft-internal-testing/tiny-random-T5ForConditionalGeneration-calibrated": _T5,
    "trl-internal-testing/tiny-LlamaForSequenceClassification-3.2": TinyModel(
        "LlamaForSequenceClassification", "LlamaConfig", _DECODER
    ),
    "trl-internal-testing/tiny-random-LlamaForCausalLM": TinyModel(
        "LlamaForCausalLM", "LlamaConfig", _DECODER
    ),
}
"""Id on the hub -> the model that stands for it."""

LORA = "peft-internal-testing/tiny-opt-lora-revision"
"""The adapter whose config peft's tests of configs open, LoRA's."""


def save_models(folder: Path) -> None:
    """Save every model, and the config of `LORA`.

    Args:
        folder: the working folder of the run; a model that is there already is left alone.
    """
    disable_progress_bar()
    for name, model in MODELS.items():
        if not (folder / name / "config.json").is_file():
            model.save(folder / name)
    base = "peft-internal-testing/tiny-random-OPTForCausalLM"
    LoraConfig(task_type="CAUSAL_LM", base_model_name_or_path=base).save_pretrained(str(folder / LORA))
