"""Layouts of fused projections, each against what the model itself makes of the projection's output."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from amplitune.adapters.fused import FusedLayout, check_parts, known_layout
from amplitune.errors import ConfigError

SIZES: dict[str, Any] = {"vocab_size": 20, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
LLAMA_LIKE = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 20}
FALCON = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 4, "alibi": False}
GPT = {"n_embd": 24, "n_layer": 1, "n_head": 4, "n_positions": 16}


@dataclass(frozen=True)
class Fused:
    """A tiny model with a fused projection."""

    name: str
    config: str
    fields: dict[str, Any]
    module: str

    def model(self) -> Any:
        torch.manual_seed(0)
        config = getattr(transformers, self.config)(**SIZES | self.fields)
        return transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


GROUPED = LLAMA_LIKE | {"num_key_value_heads": 2, "head_dim": 6}
ATTENTION = [
    Fused("gpt2", "GPT2Config", GPT, "c_attn"),
    Fused("one key for all", "GPTBigCodeConfig", GPT | {"multi_query": True}, "c_attn"),
    Fused("by head", "GPTBigCodeConfig", GPT | {"multi_query": False}, "c_attn"),
    Fused("gpt_neox", "GPTNeoXConfig", LLAMA_LIKE, "query_key_value"),
    Fused("bloom", "BloomConfig", {"hidden_size": 24, "n_layer": 1, "n_head": 4}, "query_key_value"),
    Fused("persimmon", "PersimmonConfig", LLAMA_LIKE | {"hidden_size": 32}, "query_key_value"),
    Fused("falcon, by head", "FalconConfig", FALCON | {"multi_query": False}, "query_key_value"),
    Fused("falcon, one key for all", "FalconConfig", FALCON | {"multi_query": True}, "query_key_value"),
    Fused(
        "falcon, by group",
        "FalconConfig",
        FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2},
        "query_key_value",
    ),
    Fused("mpt", "MptConfig", {"d_model": 24, "n_layers": 1, "n_heads": 4, "max_seq_len": 16}, "Wqkv"),
    Fused("phi3", "Phi3Config", GROUPED, "qkv_proj"),
]
GATED = [
    Fused("phi3", "Phi3Config", GROUPED, "gate_up_proj"),
    Fused("glm", "GlmConfig", GROUPED, "gate_up_proj"),
    Fused("glm4", "Glm4Config", GROUPED, "gate_up_proj"),
]


def ids(cases: list[Fused]) -> list[str]:
    return [case.name for case in cases]


def outputs_of(model: nn.Module, name: str, change: Callable[[Tensor], Tensor]) -> Tensor:
    """The logits with the projection's output changed."""
    module = next(module for key, module in model.named_modules() if key.endswith(f".{name}"))
    hook = module.register_forward_hook(lambda module, args, output: change(output))
    tokens = torch.tensor([[3, 7]])
    try:
        logits: Tensor = model(tokens, use_cache=False).logits
    finally:
        hook.remove()
    return logits


@pytest.mark.parametrize("case", ATTENTION, ids=ids(ATTENTION))
def test_queries_keys_and_values_are_where_attention_reads_them(case: Fused) -> None:
    model = case.model()
    layout = known_layout(model.config.to_dict(), case.module)
    assert layout is not None
    captured: list[Tensor] = []

    def keep(output: Tensor) -> Tensor:
        captured.append(output.detach().clone().requires_grad_())
        return captured[0]

    logits = outputs_of(model, case.module, keep)
    assert layout.d_out == captured[0].shape[-1]
    # Of the first token's features, the first output sees the values, the second one the keys as well, and
    # no output sees the query: with one key in reach its softmax is 1.
    weights = torch.randn(logits.shape[-1], generator=torch.Generator().manual_seed(1))
    first, second = (
        torch.autograd.grad((logits[0, place] * weights).sum(), captured[0], retain_graph=True)[0][0, 0]
        for place in (0, 1)
    )
    seen = {
        "v": (first.abs() > 1e-12).nonzero().flatten().tolist(),
        "k": ((second.abs() > 1e-12) & (first.abs() <= 1e-12)).nonzero().flatten().tolist(),
        "q": ((second.abs() <= 1e-12) & (first.abs() <= 1e-12)).nonzero().flatten().tolist(),
    }
    assert {part: layout.features(part) for part in layout.widths} == seen


@pytest.mark.parametrize("case", GATED, ids=ids(GATED))
def test_what_is_gated_scales_the_output_of_the_mlp(case: Fused) -> None:
    model = case.model()
    layout = known_layout(model.config.to_dict(), case.module)
    assert layout is not None
    mlp = next(module for name, module in model.named_modules() if name.endswith(".mlp"))
    seen: list[Tensor] = []
    mlp.register_forward_hook(lambda module, args, output: seen.append(output))

    def doubled(part: str) -> Callable[[Tensor], Tensor]:
        factor = torch.ones(layout.d_out)
        factor[layout.features(part)] = 2
        return lambda output: output * factor

    for change in (lambda output: output, doubled("up"), doubled("gate")):
        outputs_of(model, case.module, change)
    plain, up, gate = seen
    torch.testing.assert_close(up, 2 * plain)
    assert not torch.allclose(gate, 2 * plain)


def test_nothing_is_known_of_other_models_and_modules() -> None:
    assert known_layout({"model_type": "llama"}, "query_key_value") is None
    assert known_layout({"model_type": "gpt2", "hidden_size": 4}, "c_proj") is None
    assert known_layout({}, "c_attn") is None


def test_a_layout_is_described_and_made_again() -> None:
    layout = FusedLayout(3, {"a": 2, "b": 1})
    assert FusedLayout.from_dict("layout", layout.to_dict()) == layout
    assert FusedLayout.from_dict("layout", {"parts": ["a"], "widths": [2]}) == FusedLayout(1, {"a": 2})
    assert sorted(layout.features("a") + layout.features("b")) == list(range(layout.d_out))
    with pytest.raises(ConfigError, match="must be one of a, b, but is 'c'"):
        layout.features("c")


WRONG: list[Any] = [
    None,
    {},
    [],
    {"parts": ["q"]},
    {"q": 3},
    {"parts": [], "widths": []},
    {"parts": ["q", "q"], "widths": [1, 1]},
    {"parts": ["q"], "widths": [0]},
    {"parts": ["q"], "widths": [1, 2]},
    {"parts": ["q"], "widths": 3},
    {"parts": ["q"], "widths": [1], "groups": 0},
]


@pytest.mark.parametrize("value", WRONG)
def test_a_wrong_layout_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="`layout"):
        FusedLayout.from_dict("layout", value)


@pytest.mark.parametrize("parts", [None, "q", [], ["q", "q"], [1], ["q", "w"]])
def test_wrong_parts_are_refused(parts: Any) -> None:
    with pytest.raises(ConfigError, match="`parts` must"):
        check_parts("parts", parts, FusedLayout(1, {"q": 1, "k": 1}))
