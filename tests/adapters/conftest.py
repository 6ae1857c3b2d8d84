"""Tiny random models of three architectures, and the methods' configs for them."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import Tensor
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from amplitune import ControlConfig, QAAConfig, SoRAConfig

VOCABULARY = 50


@dataclass(frozen=True)
class Architecture:
    """A tiny model with what the tests need to know of it: widths 24 and 20 are no powers of two."""

    name: str
    build: Callable[[], Any]
    task_type: str
    targets: tuple[str, ...]
    modules_to_save: tuple[str, ...] = ()

    def model(self, seed: int = 0) -> Any:
        torch.manual_seed(seed)
        return self.build().eval()


def _llama() -> Any:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=24,
            intermediate_size=20,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=32,
        )
    )


def _gpt2() -> Any:
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_embd=32,
            n_layer=2,
            n_head=2,
            n_positions=32,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def _bert() -> Any:
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=20,
            max_position_embeddings=32,
            id2label={0: "a", 1: "b", 2: "c"},
        )
    )


ARCHITECTURES = (
    Architecture("llama", _llama, "CAUSAL_LM", ("q_proj", "v_proj")),
    Architecture("gpt2", _gpt2, "CAUSAL_LM", ("c_attn", "c_proj")),
    Architecture("bert", _bert, "SEQ_CLS", ("query", "value"), ("classifier",)),
)
METHODS: dict[str, Callable[..., Any]] = {
    "qaa": QAAConfig,
    "sora": SoRAConfig,
    "control": functools.partial(ControlConfig, features="givens"),
}

MakeConfig = Callable[..., Any]
Wrap = Callable[..., PeftModel]


@pytest.fixture(params=ARCHITECTURES, ids=[architecture.name for architecture in ARCHITECTURES])
def architecture(request: pytest.FixtureRequest) -> Architecture:
    found: Architecture = request.param
    return found


@pytest.fixture
def llama() -> Architecture:
    return ARCHITECTURES[0]


@pytest.fixture
def gpt2() -> Architecture:
    return ARCHITECTURES[1]


@pytest.fixture
def bert() -> Architecture:
    return ARCHITECTURES[2]


@pytest.fixture(params=sorted(METHODS))
def method(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def make_config() -> MakeConfig:
    """Build a method's config for an architecture; its adapter is not the identity unless asked for."""

    def make(method: str, architecture: Architecture, **overrides: Any) -> Any:
        fields: dict[str, Any] = {
            "task_type": architecture.task_type,
            "target_modules": list(architecture.targets),
            "init_weights": False,
        }
        if architecture.modules_to_save:
            fields["modules_to_save"] = list(architecture.modules_to_save)
        return METHODS[method](**fields | overrides)

    return make


@pytest.fixture
def wrap(make_config: MakeConfig) -> Wrap:
    """Wrap a fresh model of the architecture; the adapter's weights depend on the seed."""

    def make(method: str, architecture: Architecture, seed: int = 0, **overrides: Any) -> Any:
        model = architecture.model()
        torch.manual_seed(100 + seed)
        return get_peft_model(model, make_config(method, architecture, **overrides)).eval()

    return make


@pytest.fixture
def tokens() -> Tensor:
    return torch.randint(0, VOCABULARY, (3, 7), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def saved_base(tmp_path: Path) -> Callable[[Architecture], str]:
    """Save an architecture's base model and give the folder, for loaders that open the base by its name."""

    def save(architecture: Architecture) -> str:
        folder = tmp_path / f"base-{architecture.name}"
        model: PreTrainedModel = architecture.model()
        model.save_pretrained(folder)
        return str(folder)

    return save


@pytest.fixture(autouse=True)
def _one_seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
