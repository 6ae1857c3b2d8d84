"""SoRA around torch's multi-head attention, whose weights are changed and whose function runs as it is."""

import copy
from typing import Any

import pytest
import torch
from accelerate import cpu_offload
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal
from torch.utils.checkpoint import checkpoint

from amplitune import (
    SoRAConfig,
    count_parameters,
    create_sora_optimizer,
    gate_sparsity,
)
from amplitune.adapters.sora.multihead_attention import SoRAMultiheadAttention
from amplitune.errors import ConfigError

WIDTH = 8


class Net(nn.Module):
    """An attention with a linear layer behind it."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mha = nn.MultiheadAttention(WIDTH, 2, **options)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor, **options: Any) -> Tensor:
        result: Tensor = self.head(self.mha(x, x, x, **options)[0])
        return result


def config(**fields: Any) -> SoRAConfig:
    options: dict[str, Any] = {"r": 3, "lora_alpha": 5, "target_modules": ["mha"], "init_weights": False}
    return SoRAConfig(**options | fields)


def adapted(dtype: torch.dtype = torch.float32, seed: int = 0, **options: Any) -> tuple[Any, Any]:
    """A model and its adapted attention; biases are no zeros, as torch starts them."""
    net: Any = Net(**options).to(dtype)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
    torch.manual_seed(100 + seed)
    model = get_peft_model(net, config()).eval()
    return model, net.mha


def layers(attention: Any) -> tuple[Any, Any]:
    return attention, attention.get_base_layer().out_proj


def explicit(attention: Any, adapter_name: str = "default") -> nn.MultiheadAttention:
    """The attention with the changes of weight written out."""
    plain = copy.deepcopy(attention.get_base_layer())
    plain.out_proj = plain.out_proj.get_base_layer()
    with torch.no_grad():
        for layer, weight in zip(
            layers(attention), (plain.in_proj_weight, plain.out_proj.weight), strict=True
        ):
            a, b, gate = (getattr(layer, name)[adapter_name] for name in layer.adapter_layer_names)
            weight += 5 / 3 * b @ torch.diag(gate) @ a
    found: nn.MultiheadAttention = plain
    return found


@pytest.fixture
def x() -> Tensor:
    return torch.randn(4, 2, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_first": True},
        {"bias": False},
        {"add_bias_kv": True},
        {"add_zero_attn": True},
        {"dropout": 0.5},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "call",
    [
        {},
        {"need_weights": False},
        {"average_attn_weights": False},
        {"attn_mask": torch.ones(4, 4, dtype=torch.bool).triu(1)},
        {"padded": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("training", [False, True])
def test_the_layer_computes_its_formula(
    x: Tensor, options: dict[str, Any], call: dict[str, Any], training: bool
) -> None:
    _, attention = adapted(torch.float64, **options)
    plain = explicit(attention)
    x = x.double().transpose(0, 1) if options.get("batch_first") else x.double()
    call = dict(call)
    if call.pop("padded", False):
        call["key_padding_mask"] = torch.tensor([[False, False, False, True], [False] * 4])
    results = []
    for module in (attention, plain):
        torch.manual_seed(3)
        results.append(module.train(training)(query=x, key=x, value=x, **call))
    torch.testing.assert_close(results[0], results[1], atol=1e-12, rtol=0)
    base = attention.get_base_layer()
    assert (results[0][0] - base.train(False)(x, x, x)[0]).abs().max() > 0.1


def test_queries_and_keys_may_be_others(x: Tensor) -> None:
    _, attention = adapted()
    key, value = torch.randn(2, 6, 2, WIDTH)
    torch.testing.assert_close(attention(x, key, value), explicit(attention)(x, key, value))


def test_the_gradients_are_those_of_the_formula(x: Tensor) -> None:
    model, attention = adapted(torch.float64)
    model(x.double()).square().sum().backward()
    base = attention.get_base_layer()
    assert all(parameter.grad is None for name, parameter in base.named_parameters() if "sora" not in name)
    plain = explicit(attention)
    net: Any = copy.deepcopy(model.get_base_model())
    net.mha = plain.requires_grad_(True)
    net(x.double()).square().sum().backward()
    for layer, weight in zip(layers(attention), (plain.in_proj_weight, plain.out_proj.weight), strict=True):
        a, b, gate = (getattr(layer, name)["default"] for name in layer.adapter_layer_names)
        given: Any = weight.grad
        torch.testing.assert_close(a.grad, 5 / 3 * (b * gate).T @ given)
        torch.testing.assert_close(b.grad, 5 / 3 * given @ a.T * gate)
        torch.testing.assert_close(gate.grad, 5 / 3 * (b.T @ given @ a.T).diagonal())


def test_it_starts_as_the_base_model_and_trains(x: Tensor) -> None:
    net = Net()
    before = net(x)
    model: Any = get_peft_model(net, config(init_weights=True))
    torch.testing.assert_close(model(x), before)
    assert count_parameters(model).trainable == 3 * (WIDTH + 3 * WIDTH + 1) + 3 * (WIDTH + WIDTH + 1)
    assert gate_sparsity(model).ranks == {
        "base_model.model.mha": 3,
        "base_model.model.mha.base_layer.out_proj": 3,
    }
    optimizer = create_sora_optimizer(model, lr=0.01, sparse_lambda=1e-3)
    losses = []
    for step in range(12):
        loss = model(x).square().sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if step == 10:
            optimizer.param_groups[-1]["sparse_lambda"] = 10.0
    assert losses[10] < losses[0]
    assert gate_sparsity(model).sparsity == 1.0
    torch.testing.assert_close(model(x), before)


def test_checkpointing_has_the_same_gradients(x: Tensor) -> None:
    model, attention = adapted()
    x.requires_grad_()
    gradients = []
    for run in (attention, lambda *inputs: checkpoint(attention, *inputs, use_reentrant=False)):
        model.zero_grad()
        run(x, x, x)[0].sum().backward()
        gradients.append([layer.sora_A["default"].grad.clone() for layer in layers(attention)])
    torch.testing.assert_close(gradients[0], gradients[1])


def test_an_encoder_takes_its_own_way_at_inference() -> None:
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True, dropout=0.0)
    net: Any = nn.TransformerEncoder(layer, 2, enable_nested_tensor=True).eval()
    x, padding = torch.randn(2, 3, WIDTH), torch.tensor([[False, False, True], [False, False, False]])
    with torch.no_grad():
        base = net(x, src_key_padding_mask=padding)
        model = get_peft_model(net, config(target_modules=["self_attn", "linear1"])).eval()
        found = model(x, src_key_padding_mask=padding)
        expected = model.train()(x, src_key_padding_mask=padding)
        assert (found - base)[~padding].abs().max() > 0.1
        torch.testing.assert_close(found[~padding], expected[~padding])
        net.layers[0].self_attn.get_base_layer().register_forward_pre_hook(lambda *_: pytest.fail("asked"))
        with pytest.raises(BaseException, match="asked"):
            model.eval()(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_adapter_is_float32_and_the_output_in_the_models_dtype(x: Tensor, dtype: torch.dtype) -> None:
    model, attention = adapted(dtype)
    assert {parameter.dtype for name, parameter in model.named_parameters() if "sora" in name} == {
        torch.float32
    }
    found = attention(*[x.to(dtype)] * 3)[0]
    assert found.dtype == dtype
    torch.testing.assert_close(found, explicit(attention)(*[x.to(dtype)] * 3)[0])


def test_a_failed_call_leaves_the_weights(x: Tensor) -> None:
    model, attention = adapted()
    before = [attention.in_proj_weight, attention.out_proj.weight]
    with pytest.raises(AssertionError, match="embedding dimension"):
        model(x[..., :4])
    assert all(
        found is kept
        for found, kept in zip([attention.in_proj_weight, attention.out_proj.weight], before, strict=True)
    )
    assert isinstance(attention.in_proj_weight, nn.Parameter)


def test_a_weight_in_front_of_the_parameter_counts(x: Tensor) -> None:
    """FSDP with original parameters puts the whole weight there while a module computes."""
    model, attention = adapted()
    expected = model(x)
    for module, name in (
        (attention.get_base_layer(), "in_proj_weight"),
        (attention.out_proj, "weight"),
    ):
        module.__dict__[name] = module._parameters[name].detach().clone()
        with torch.no_grad():
            module._parameters[name].zero_()
    torch.testing.assert_close(model(x), expected)
    assert type(attention.in_proj_weight) is Tensor


def test_it_compiles_without_a_graph_break(x: Tensor) -> None:
    model, attention = adapted()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), model(x))
    assert isinstance(attention.in_proj_weight, nn.Parameter)


def without_weight(net: Any) -> None:
    net.mha.out_proj = nn.Identity()


def with_a_lora(net: Any) -> None:
    get_peft_model(net, LoraConfig(target_modules=["mha"]))


def orthogonal_projection(net: Any) -> None:
    orthogonal(net.mha.out_proj)


@pytest.mark.parametrize(
    ("options", "fields", "change", "message"),
    [
        (
            {"kdim": 4},
            {},
            None,
            "Only same embed for query/key/value.*mha has embed_dim=8, kdim=4 and vdim=8",
        ),
        ({}, {"lora_dropout": 0.1}, None, "`lora_dropout` must be 0 for mha, but is 0.1"),
        ({}, {"target_modules": ["mha", "out_proj"]}, None, "out_proj is NonDyn.*around the attention as a"),
        ({}, {}, without_weight, "has Identity as its out_proj"),
        ({}, {}, with_a_lora, "already has an adapter of another method"),
        ({}, {}, orthogonal_projection, "computes a weight from other tensors"),
    ],
)
def test_what_it_cannot_go_around(
    options: dict[str, Any], fields: dict[str, Any], change: Any, message: str
) -> None:
    net = Net(**options)
    if change is not None:
        change(net)
    names = [name for name, _ in net.named_modules()]
    with pytest.raises(ConfigError, match=message):
        get_peft_model(net, config(**fields))
    assert [name for name, _ in net.named_modules()] == names


def test_rows_with_different_adapters_are_refused(x: Tensor) -> None:
    model, attention = adapted()
    with pytest.raises(ConfigError, match=r"one weight for all rows of a batch.*set_adapter"):
        model(x, adapter_names=["default", "__base__", "default", "default"])
    assert isinstance(attention, SoRAMultiheadAttention)


def test_weights_that_are_elsewhere_are_refused(x: Tensor) -> None:
    model, attention = adapted()
    cpu_offload(attention.get_base_layer(), torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"must be where it computes.*device_map"):
        model(x)
    assert attention.in_proj_weight.is_meta
