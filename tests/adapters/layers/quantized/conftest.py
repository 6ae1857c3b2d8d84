"""A tiny model, quantised by each library that is installed; all of it on the CPU."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.adapters.layers.quantized.schemes import SCHEMES, WIDTH, Scheme
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

Load = Callable[..., Any]


def need(library: str) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed; `make test` puts it into .venv/quantized")


@pytest.fixture(params=SCHEMES, ids=[scheme.name for scheme in SCHEMES])
def scheme(request: pytest.FixtureRequest) -> Scheme:
    found: Scheme = request.param
    need(found.library)
    return found


@pytest.fixture(params=[scheme for scheme in SCHEMES if scheme.merges], ids=lambda scheme: scheme.name)
def mergeable_scheme(request: pytest.FixtureRequest) -> Scheme:
    """A scheme whose weights peft can read and write."""
    found: Scheme = request.param
    need(found.library)
    return found


@pytest.fixture(params=[scheme for scheme in SCHEMES if not scheme.merges], ids=lambda scheme: scheme.name)
def forward_only_scheme(request: pytest.FixtureRequest) -> Scheme:
    found: Scheme = request.param
    need(found.library)
    return found


@pytest.fixture
def scheme_named() -> Callable[[str], Scheme]:
    def find(name: str) -> Scheme:
        found = next(scheme for scheme in SCHEMES if scheme.name == name)
        need(found.library)
        return found

    return find


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Save a tiny random Llama with biases in its attention."""
    folder = tmp_path_factory.mktemp("quantized") / "base"
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=32,
        attention_bias=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(autouse=True)
def _nothing_compiled() -> Any:
    """Keep GPTQ's layers from compiling themselves, which takes seconds for each shape."""
    torch.compiler.set_stance("force_eager")
    yield
    torch.compiler.set_stance("default")


@pytest.fixture
def kept_folder(tmp_path: Path) -> str:
    return str(tmp_path / "adapter")


@pytest.fixture
def quantized_config(make_config: Any, llama: Any) -> Callable[..., Any]:
    """Build a method's config for the quantised model."""

    def make(method: str, **fields: Any) -> Any:
        return make_config(method, llama, **{"target_modules": ["q_proj", "v_proj", "down_proj"]} | fields)

    return make
