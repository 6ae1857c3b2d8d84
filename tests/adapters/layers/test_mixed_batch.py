"""Batches whose rows have different adapters."""

from typing import Any

import pytest
import torch
from peft import get_peft_model
from tests.adapters.conftest import METHODS, VOCABULARY, Architecture, MakeConfig, Wrap
from torch import Tensor
from transformers import GenerationConfig, OPTConfig, OPTForCausalLM

from amplitune.errors import ConfigError

NAMES = ["second", "__base__", "default"]


@pytest.fixture
def two(method: str, architecture: Architecture, wrap: Wrap, make_config: MakeConfig) -> Any:
    """A model with two adapters, the second on half of the modules."""
    model: Any = wrap(method, architecture)
    torch.manual_seed(7)
    model.add_adapter("second", make_config(method, architecture, target_modules=architecture.targets[:1]))
    return model.eval()


def alone(model: Any, name: str, row: Tensor) -> Tensor:
    """The logits of one row, its adapter the active one."""
    with torch.no_grad():
        if name == "__base__":
            with model.disable_adapter():
                found: Tensor = model(row[None]).logits[0]
        else:
            model.set_adapter(name)
            found = model(row[None]).logits[0]
    model.set_adapter("default")
    return found


def test_each_row_has_its_own_adapter(two: Any, tokens: Tensor) -> None:
    with torch.no_grad():
        mixed = two(tokens, adapter_names=NAMES).logits
    for row, name in enumerate(NAMES):
        torch.testing.assert_close(mixed[row], alone(two, name, tokens[row]), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(mixed[0], alone(two, "default", tokens[0]), atol=1e-5)
    assert not torch.allclose(mixed[1], alone(two, "default", tokens[1]), atol=1e-5)
    # The hooks are gone: the active adapter is everyone's again.
    with torch.no_grad():
        plain = two(tokens).logits
    torch.testing.assert_close(plain[0], alone(two, "default", tokens[0]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("in_config", [False, True])
@pytest.mark.parametrize("num_beams", [1, 3])
def test_generation_has_an_adapter_for_each_row(
    method: str,
    llama: Architecture,
    wrap: Wrap,
    make_config: MakeConfig,
    tokens: Tensor,
    num_beams: int,
    in_config: bool,
) -> None:
    model: Any = wrap(method, llama)
    torch.manual_seed(7)
    model.add_adapter("second", make_config(method, llama))
    model.eval()
    settings = {"max_new_tokens": 5, "do_sample": False, "num_beams": num_beams, "pad_token_id": 0}
    rows, mask = tokens.clamp(min=1), torch.ones_like(tokens)
    given = {"generation_config": GenerationConfig(**settings)} if in_config else settings
    mixed = model.generate(input_ids=rows, attention_mask=mask, adapter_names=NAMES, **given)
    for row, name in enumerate(NAMES):
        if name != "__base__":
            model.set_adapter(name)
            own = model.generate(input_ids=rows[row : row + 1], attention_mask=mask[:1], **settings)
            assert mixed[row].tolist()[: own.shape[1]] == own[0].tolist()


@pytest.mark.parametrize("num_beams", [1, 4])
def test_each_of_several_returned_sequences_has_its_rows_adapter(
    llama: Architecture, wrap: Wrap, tokens: Tensor, num_beams: int
) -> None:
    model: Any = wrap("sora", llama)
    shared: Any = {
        "attention_mask": torch.ones_like(tokens),
        "max_new_tokens": 2,
        "num_return_sequences": 2,
        "num_beams": num_beams,
        "do_sample": num_beams == 1,
        "top_k": 1,
        "pad_token_id": 0,
    }
    rows = tokens.clamp(min=1)
    mixed = model.generate(input_ids=rows, adapter_names=["default", "default", "__base__"], **shared)
    alone = model.generate(input_ids=rows, **shared)
    with model.disable_adapter():
        base = model.generate(input_ids=rows, **shared)
    assert mixed.shape == alone.shape == (6, 9)
    assert torch.equal(mixed[:4], alone[:4])
    assert torch.equal(mixed[4:], base[4:])


def test_an_adapter_that_does_not_fit_its_batch_is_an_error(two: Any, tokens: Tensor) -> None:
    cases = {
        r"non-existing adapter\(s\): secnd. Did you mean 'second'": ["secnd", "default", "default"],
        "but got 2 and 3 respectively": ["default", "default"],
        "`adapter_names` must be a list": "default",
        r"must have the name of an adapter for each row, but has None": ["default", None, "default"],
    }
    for match, names in cases.items():
        with pytest.raises(ConfigError, match=match):
            two(tokens, adapter_names=names)
    with pytest.raises(ConfigError, match="in training mode"):
        two.train()(tokens, adapter_names=NAMES)
    assert all(not module._forward_pre_hooks for module in two.modules())


def test_a_layer_that_gets_all_tokens_in_one_dimension_has_no_rows(method: str, tokens: Tensor) -> None:
    config = OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=8,
        word_embed_proj_dim=8,
        ffn_dim=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
    )
    model = get_peft_model(OPTForCausalLM(config), METHODS[method](target_modules=["q_proj", "fc1"])).eval()
    with pytest.raises(ConfigError, match=r"3 and 21 .*tokens of all rows in one dimension, as in OPT's MLP"):
        model(tokens, adapter_names=["default"] * 3)


def test_merged_adapters_cannot_be_mixed(llama: Architecture, wrap: Wrap, tokens: Tensor) -> None:
    model: Any = wrap("sora", llama)
    model.merge_adapter()
    with pytest.raises(ConfigError, match="when there are merged adapters"):
        model(tokens, adapter_names=["default"] * 3)
