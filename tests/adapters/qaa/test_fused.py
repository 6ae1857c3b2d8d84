"""QAA on parts of a fused projection: the formula of each part, nothing elsewhere, and what is stored."""

import copy
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft import PeftModel
from tests.adapters.conftest import VOCABULARY, Wrap
from torch import Tensor, nn
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from amplitune import QAAConfig, count_parameters
from amplitune.adapters.fused import FusedLayout
from amplitune.adapters.qaa.fused import FusedParts, with_layouts
from amplitune.adapters.qaa.layer import QAALinear
from amplitune.adapters.qaa.stored_circuit import circuits_of, stored_circuits
from amplitune.errors import ConfigError
from amplitune.quantum import expectation

LAYOUT = {"groups": 2, "parts": ["q", "k", "v"], "widths": [3, 1, 2]}
PARTS: dict[str, Any] = {"fused_parts": {"0": ["v", "q"]}, "fused_layouts": {"0": LAYOUT}}


def fused(**overrides: Any) -> Any:
    fields: dict[str, Any] = {"target_modules": ["0"], "init_weights": False, **PARTS}
    model: Any = peft.get_peft_model(
        nn.Sequential(nn.Linear(6, 12)).double(), QAAConfig(**fields | overrides)
    )
    return model


def neox() -> Any:
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=VOCABULARY,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=20,
        max_position_embeddings=32,
    )
    return GPTNeoXForCausalLM(config).eval()


def wrapped(**overrides: Any) -> Any:
    fields: dict[str, Any] = {
        "target_modules": ["query_key_value"],
        "fused_parts": {"query_key_value": ["q", "v"]},
        "task_type": "CAUSAL_LM",
        "init_weights": False,
    }
    torch.manual_seed(7)
    return peft.get_peft_model(neox(), QAAConfig(**fields | overrides)).eval()


@pytest.mark.parametrize("circuits", [1, 2])
@pytest.mark.parametrize("up_proj_bias", [True, False])
def test_each_part_has_a_circuit_and_a_readout_of_its_own(circuits: int, up_proj_bias: bool) -> None:
    model = fused(circuits=circuits, up_proj_bias=up_proj_bias, scaling=0.7, depth=2)
    layer: QAALinear = model.base_model.model[0]
    angles, weight = layer.qaa_angles["default"], layer.qaa_up_proj["default"]
    assert angles.shape == (2 * circuits, 2, 1, 3)
    assert weight.shape == (4 + 6, circuits * 3)
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    expected = layer.base_layer(x).detach().clone()
    layout = FusedLayout.from_dict("", LAYOUT)
    first = 0
    for index, part in enumerate(["v", "q"]):
        features = layout.features(part)
        own = slice(first, first + len(features))
        first += len(features)
        z = expectation(x, angles[index * circuits : (index + 1) * circuits], layer.qaa_circuit["default"])
        branch = z @ weight[own].T
        if up_proj_bias:
            branch = branch + layer.qaa_up_proj_bias["default"][own]
        expected[..., features] += 0.7 * branch
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)
    rest = layout.features("k")
    assert torch.equal(layer(x)[..., rest], layer.base_layer(x)[..., rest])
    counts = count_parameters(model)
    assert (counts.angles, counts.classical) == (
        2 * circuits * 2 * 3,
        10 * 3 * circuits + 10 * up_proj_bias,
    )


def test_gradients_equal_finite_differences() -> None:
    layer: QAALinear = fused().base_model.model[0]
    x = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        names = [name for name, p in layer.named_parameters() if p.requires_grad]
        out: Tensor = torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))
        return out

    parameters = [p.detach().requires_grad_() for p in layer.parameters() if p.requires_grad]
    assert len(parameters) == 3
    assert torch.autograd.gradcheck(run, (x, *parameters))


def test_all_parts_in_order_with_equal_angles_are_the_whole_projection() -> None:
    whole = fused(fused_parts={}, fused_layouts={})
    parts = fused(
        fused_parts={"0": ["q", "k", "v"]},
        fused_layouts={"0": {"parts": ["q", "k", "v"], "widths": [6, 2, 4]}},
    )
    one, other = whole.base_model.model[0], parts.base_model.model[0]
    other.load_state_dict(
        {
            "base_layer.weight": one.base_layer.weight,
            "base_layer.bias": one.base_layer.bias,
            "qaa_angles.default": one.qaa_angles["default"].expand(3, -1, -1, -1),
            "qaa_up_proj.default": one.qaa_up_proj["default"],
            "qaa_up_proj_bias.default": one.qaa_up_proj_bias["default"],
        }
    )
    x = torch.randn(5, 6, dtype=torch.float64)
    torch.testing.assert_close(one(x), other(x), rtol=0, atol=1e-12)


def test_a_fresh_adapter_changes_nothing(tokens: Tensor) -> None:
    assert torch.equal(wrapped(init_weights=True)(tokens).logits, neox()(tokens).logits)


def test_the_layout_comes_from_the_architecture_and_is_saved(tokens: Tensor, tmp_path: Path) -> None:
    model = wrapped()
    layer = model.base_model.model.gpt_neox.layers[0].attention.query_key_value
    layout = FusedLayout(4, {"q": 6, "k": 6, "v": 6})
    assert layer.qaa_parts["default"] == FusedParts(layout, ("q", "v"))
    model.save_pretrained(str(tmp_path))
    stored_config: Any = peft.PeftConfig.from_pretrained(str(tmp_path))
    assert stored_config.fused_layouts == {"query_key_value": layout.to_dict()}
    loaded = PeftModel.from_pretrained(neox(), str(tmp_path)).eval()
    assert torch.equal(loaded(tokens).logits, model(tokens).logits)
    of_model, of_file = circuits_of(model), stored_circuits(tmp_path)
    assert list(of_model) == list(of_file)
    assert len(of_file) == 2
    for name, stored in of_file.items():
        module = model.base_model.model.get_submodule(name)
        x = torch.randn(3, 24)
        z = expectation(x, stored.angles, stored.circuit)
        torch.testing.assert_close(stored.branch(z), module.branch(x, "default"))
        assert torch.equal(stored.up_proj, of_model[name].up_proj)


@pytest.mark.parametrize(("key", "layers"), [(".*key_value", [0, 1]), (r".*layers\.1\.[^.]*\.query.*", [1])])
def test_a_key_may_be_a_regular_expression_of_modules_whose_layout_is_known(
    key: str, layers: list[int], tokens: Tensor, tmp_path: Path
) -> None:
    model = wrapped(fused_parts={key: ["k"]})
    modules = [layer.attention.query_key_value for layer in model.base_model.model.gpt_neox.layers]
    assert [index for index, module in enumerate(modules) if "default" in module.qaa_parts] == layers
    assert model.peft_config["default"].fused_layouts == {
        key: modules[1].qaa_parts["default"].layout.to_dict()
    }
    model.save_pretrained(str(tmp_path))
    loaded = PeftModel.from_pretrained(neox(), str(tmp_path)).eval()
    assert torch.equal(loaded(tokens).logits, model(tokens).logits)


def test_a_regular_expression_has_the_layout_with_its_parts() -> None:
    config = {"model_type": "phi3", "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 6}
    names = ["model.layers.0.self_attn.qkv_proj", "model.layers.0.mlp.gate_up_proj"]
    assert with_layouts({".*_proj": ["up"]}, {}, config, names)[".*_proj"]["parts"] == ["gate", "up"]
    assert with_layouts({".*_proj": ["v"]}, {}, config, names)[".*_proj"]["parts"] == ["q", "k", "v"]


def test_adapters_with_and_without_parts_in_one_model(tokens: Tensor) -> None:
    model = wrapped()
    model.add_adapter("whole", QAAConfig(target_modules=["query_key_value"], init_weights=False))
    logits = {}
    for name in ("default", "whole"):
        model.set_adapter(name)
        logits[name] = model(tokens).logits
    mixed = model(tokens, adapter_names=["whole", "default", "__base__"]).logits
    torch.testing.assert_close(mixed[0], logits["whole"][0])
    torch.testing.assert_close(mixed[1], logits["default"][1])
    torch.testing.assert_close(mixed[2], neox()(tokens).logits[2])
    assert torch.equal(copy.deepcopy(model)(tokens).logits, logits["whole"])
    model.delete_adapter("default")
    assert all(not module.qaa_parts for module in model.modules() if isinstance(module, QAALinear))


def test_merged_where_the_readout_is_linear(tokens: Tensor) -> None:
    model = wrapped(readout="interferometric", norm="restore").double()
    expected = model(tokens).logits
    torch.testing.assert_close(model.merge_and_unload()(tokens).logits, expected, rtol=0, atol=1e-9)


def test_a_weighted_sum_is_exact() -> None:
    model = fused(circuits=2)
    torch.manual_seed(3)
    model.add_adapter("other", QAAConfig(target_modules=["0"], init_weights=False, **PARTS))
    x = torch.randn(5, 6, dtype=torch.float64)
    layer = model.base_model.model[0]
    expected = 2 * layer.branch(x, "default") - layer.branch(x, "other")
    model.add_weighted_adapter(["default", "other"], [2.0, -1.0], "sum")
    torch.testing.assert_close(layer.branch(x, "sum"), expected, rtol=0, atol=1e-12)
    model.add_adapter("whole", QAAConfig(target_modules=["0"], init_weights=False))
    with pytest.raises(ConfigError, match="`fused_parts` must be the same"):
        model.add_weighted_adapter(["default", "whole"], [1.0, 1.0], "mixed")


def test_torch_compile_traces_one_graph() -> None:
    layer: QAALinear = fused().base_model.model[0]
    x = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    compiled: Any = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), layer(x))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fused_parts": {"query_key_value": ["q", "w"]}}, r"has 'w'.*Valid names: 'k', 'q', 'v'"),
        ({"fused_parts": {"query_key_value": []}}, r"at least one part"),
        ({"fused_parts": {"query_key_value": ["q", "q"]}}, r"each part once"),
        ({"fused_parts": ["q"]}, r"`fused_parts` must be a mapping"),
        ({"fused_parts": {"dense": ["q"]}}, r"nothing is known of 'dense'.*Known there: query_key_value"),
        (
            {"fused_layouts": {"query_key_value": {"parts": ["q"], "widths": [48]}}},
            r"divide all 72 .* has 48",
        ),
        ({"fused_layouts": {"qkv": LAYOUT}}, r"keys of `fused_parts`, but has 'qkv'"),
        ({"fused_layouts": {"query_key_value": {"q": 8}}}, r"must have the keys parts, widths and"),
        (
            {"fused_parts": {"query_key_value": ["q"], "c_attn": ["q"]}, "fused_layouts": {"c_attn": LAYOUT}},
            r"`fused_parts` must name modules that get an adapter, but 'c_attn'",
        ),
        ({"preset": "paper"}, r"`fused_parts` must be \{\} with preset"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_model_is_changed(fields: Any, message: str) -> None:
    model = neox()
    before = list(model.state_dict())
    given: dict[str, Any] = {
        "target_modules": ["query_key_value"],
        "fused_parts": {"query_key_value": ["q"]},
        **fields,
    }
    with pytest.raises(ConfigError, match=message):
        peft.get_peft_model(model, QAAConfig(**given))
    assert list(model.state_dict()) == before


def test_one_architecture_of_the_other_tests(wrap: Wrap, gpt2: Any, tokens: Tensor) -> None:
    model: Any = wrap("qaa", gpt2, target_modules=["c_attn"], fused_parts={"c_attn": ["v"]})
    layer = model.base_model.model.transformer.h[0].attn.c_attn
    x = torch.randn(2, 32)
    assert torch.equal(layer(x)[:, :64], layer.base_layer(x)[:, :64])
    assert not torch.allclose(layer(x)[:, 64:], layer.base_layer(x)[:, 64:])
    assert torch.isfinite(model(tokens).logits).all()
