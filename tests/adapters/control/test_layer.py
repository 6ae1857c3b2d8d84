"""The CONTROL layer: its formula, its parameters, what is loaded, what merges."""

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tests.adapters.conftest import Architecture, MakeConfig, Wrap
from tests.adapters.control.test_features import dense_givens
from tests.adapters.test_lifecycle import adapter_layers, logits, train_one_step
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from amplitune import ControlConfig, ParameterCount, QAAConfig, count_parameters
from amplitune.adapters.control import features
from amplitune.adapters.control.layer import ControlLinear
from amplitune.errors import ConfigError, NotMergeableError

FEATURES = ("bias", "projection", "squares", "givens")
DOUBLE = torch.float64


def build(base: nn.Module, **fields: Any) -> ControlLinear:
    config = ControlConfig(target_modules=["0"], **{"init_weights": False, **fields})
    return ControlLinear(base, "default", config, "0")


@pytest.fixture(params=FEATURES)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.mark.parametrize("base", [nn.Linear(6, 4), Conv1D(4, 6)], ids=["Linear", "Conv1D"])
def test_the_layer_computes_its_formula(base: nn.Module, kind: str) -> None:
    base = base.double()
    layer = build(base, features=kind, scaling=0.7)
    x = torch.randn(5, 6, dtype=DOUBLE)
    bias = layer.control_up_proj_bias["default"]
    branch: Tensor = bias.expand(5, 4)
    if kind != "bias":
        fixed = layer._fixed("default", x.device, DOUBLE)
        if kind == "givens":
            angles = layer.control_angles["default"]
            assert (angles.shape, angles.dtype) == ((1, 1, 1, 3), DOUBLE)
            f = dense_givens(x, angles.reshape(1, 3), *fixed)
        else:
            f = features.projection(x, fixed[0]) if kind == "projection" else features.squares(x, fixed[0], 3)
        assert f.shape == (5, 3)
        branch = f @ layer.control_up_proj["default"].T + bias
    assert (branch != 0).all()
    torch.testing.assert_close(layer(x), base(x) + 0.7 * branch, atol=1e-12, rtol=0)


def test_gradients_of_the_layer(kind: str) -> None:
    layer = build(nn.Linear(6, 4).double(), features=kind, circuits=1 if kind == "bias" else 2)
    parameters = [p for p in layer.parameters() if p.requires_grad]
    x = torch.randn(3, 6, dtype=DOUBLE, requires_grad=True)
    # Those of the base layer, not yet frozen by a model, and the adapter's own.
    assert len(parameters) == 2 + {"bias": 1, "givens": 3}.get(kind, 2)
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), (x, *parameters))


@pytest.mark.parametrize(("d_in", "d_out"), [(1, 3), (2, 2), (3, 5), (9, 16), (64, 6), (65, 1)])
def test_counts(kind: str, d_in: int, d_out: int) -> None:
    """As many parameters as QAA with the same fields, all of them classical."""

    def count(config: Any) -> ParameterCount:
        return count_parameters(peft.get_peft_model(nn.Sequential(nn.Linear(d_in, d_out)), config))

    fields: dict[str, Any] = {} if kind == "bias" else {"circuits": 2, "width": "Z+ZZ"}
    if kind == "givens":
        fields |= {"depth": 3, "rotations": 2}
    found = count(ControlConfig(target_modules=["0"], features=kind, **fields))
    qaa = count(QAAConfig(target_modules=["0"], rotation="RYRZ", depth=3, circuits=2, readout="Z+ZZ"))
    expected = {"bias": d_out, "givens": qaa.trainable}.get(kind, qaa.classical)
    assert found == ParameterCount(expected, 0, expected, d_in * d_out + d_out)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_fresh_adapter_changes_nothing_and_then_learns(
    kind: str, architecture: Architecture, make_config: MakeConfig, tokens: Tensor, dtype: torch.dtype
) -> None:
    base = architecture.model().to(dtype)
    expected = logits(base, tokens)
    config = make_config("control", architecture, features=kind, init_weights=True)
    model = peft.get_peft_model(base, config).eval()
    assert torch.equal(logits(model, tokens), expected)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for _ in range(2):
        train_one_step(model.train(), architecture, tokens)
    after = dict(model.named_parameters())
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {name for name, p in model.named_parameters() if p.requires_grad}
    assert {after[name].dtype for name in changed if ".control_" in name} == {torch.float32}
    assert torch.isfinite(logits(model.eval(), tokens)).all()


@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_what_is_random_and_fixed_is_not_saved_and_is_the_same_again(
    kind: str, architecture: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Path, low_cpu_mem_usage: bool
) -> None:
    model = wrap("control", architecture, features=kind)
    saved = logits(model, tokens)
    model.save_pretrained(str(tmp_path))
    names = {"bias": 1, "givens": 3}.get(kind, 2)
    own = [key for key in load_file(tmp_path / "adapter_model.safetensors") if ".control_" in key]
    assert len(own) == names * len(adapter_layers(model))
    torch.manual_seed(999)
    loaded = PeftModel.from_pretrained(
        architecture.model(), str(tmp_path), low_cpu_mem_usage=low_cpu_mem_usage
    )
    assert torch.equal(logits(loaded, tokens), saved)


def test_another_projection_seed_is_another_control(llama: Architecture, wrap: Wrap, tokens: Tensor) -> None:
    for kind in FEATURES[1:]:
        one, other = (wrap("control", llama, features=kind, projection_seed=seed) for seed in (0, 1))
        assert not torch.allclose(logits(one, tokens), logits(other, tokens), atol=1e-4)
        fixed = [layer._fixed("default", tokens.device, torch.float32)[-1] for layer in adapter_layers(one)]
        assert not torch.equal(fixed[0], fixed[2]), "two modules share a projection"


def test_inference_mode_and_the_meta_device_leave_no_trace(kind: str, llama: Architecture) -> None:
    with torch.device("meta"):
        net = nn.Sequential(nn.Linear(6, 4))
    model = peft.get_peft_model(net, ControlConfig(target_modules=["0"], features=kind))
    assert model(torch.empty(2, 6, device="meta")).shape == (2, 4)
    layer = build(nn.Linear(6, 4), features=kind)
    with torch.inference_mode():
        layer(torch.randn(2, 6))
    layer(torch.randn(2, 6, requires_grad=True)).sum().backward()
    layer.double()(torch.randn(2, 6, dtype=DOUBLE))


@pytest.mark.parametrize("shape", [(6,), (5, 6), (2, 0, 6), (0, 6), (2, 3, 4, 6)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_any_shape_and_dtype(kind: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    layer = build(nn.Linear(6, 4).to(dtype), features=kind)
    x = torch.randn(shape).to(dtype).requires_grad_()
    y = layer(x)
    assert (y.shape, y.dtype) == ((*shape[:-1], 4), dtype)
    assert layer.branch(x, "default").dtype == torch.float32
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.shape == shape


def test_rows_of_zeros_and_of_large_numbers() -> None:
    for kind in ("squares", "givens"):
        layer = build(nn.Linear(6, 4).half(), features=kind)
        x = torch.full((3, 6), 60000.0, dtype=torch.float16)
        x[1] = 0
        branch = layer.branch(x, "default")
        torch.testing.assert_close(branch[0], layer.branch(torch.ones(1, 6), "default")[0])
        assert torch.equal(branch[1], layer.control_up_proj_bias["default"])


@pytest.mark.parametrize("safe_merge", [False, True])
def test_a_projection_merges(
    architecture: Architecture, wrap: Wrap, tokens: Tensor, safe_merge: bool
) -> None:
    # Llama's projections have no bias.
    model: Any = wrap(
        "control", architecture, features="projection", up_proj_bias=architecture.name != "llama"
    ).double()
    adapted = logits(model, tokens)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.merge_adapter(safe_merge=safe_merge)
    torch.testing.assert_close(logits(model, tokens), adapted, atol=1e-12, rtol=1e-12)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert len(changed) == len(adapter_layers(model)) * (1 if architecture.name == "llama" else 2)
    with model.disable_adapter():
        torch.testing.assert_close(logits(model, tokens), logits(architecture.model().double(), tokens))
    plain = model.merge_and_unload(safe_merge=safe_merge)
    assert plain.state_dict().keys() == architecture.model().state_dict().keys()
    torch.testing.assert_close(logits(plain, tokens), adapted, atol=1e-12, rtol=1e-12)


def test_a_bias_merges_into_a_bias(gpt2: Architecture, wrap: Wrap, tokens: Tensor) -> None:
    model: Any = wrap("control", gpt2, features="bias")
    adapted = logits(model, tokens)
    plain = model.merge_and_unload()
    assert not torch.allclose(logits(gpt2.model(), tokens), adapted)
    torch.testing.assert_close(logits(plain, tokens), adapted)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"features": "squares"}, "'squares' must stay beside.*quadratic in the input"),
        ({"features": "givens"}, "'givens' must stay beside.*quadratic in the input"),
        ({"features": "projection"}, r"`up_proj_bias` must be false to merge into .*0\.self_attn\.q_proj"),
        ({"features": "bias"}, "`up_proj_bias` must be false"),
    ],
)
def test_what_does_not_merge_says_why_and_changes_nothing(
    llama: Architecture, wrap: Wrap, tokens: Tensor, fields: dict[str, Any], match: str
) -> None:
    model: Any = wrap("control", llama, modules_to_save=["embed_tokens"], **fields)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layer = adapter_layers(model)[0]
    attempts = [
        model.merge_and_unload,
        model.merge_adapter,
        lambda: model.merge_adapter(["default"], safe_merge=True),
        layer.merge,
        lambda: layer.get_delta_weight("default"),
    ]
    for attempt in attempts:
        with pytest.raises(NotMergeableError, match=match):
            attempt()
    assert len(attempts) == 5
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_too_few_qubits_name_the_module_and_the_number(llama: Architecture, wrap: Wrap) -> None:
    with pytest.raises(ConfigError, match=r"`n_qubits` must be .* = 5 for model\.layers\.0.*, but is 4"):
        wrap("control", llama, n_qubits=4)
