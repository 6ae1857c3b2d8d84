"""An adapter's life in a PeftModel: fresh, trained, switched, disabled, deleted, unloaded."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from tests.adapters.conftest import Architecture, MakeConfig, Wrap
from torch import Tensor, nn

from amplitune.adapters.layers.linear_layer import LinearAdapterLayer


def logits(model: nn.Module, tokens: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(tokens).logits
    return found


def labels(architecture: Architecture, tokens: Tensor) -> Tensor:
    return tokens if architecture.task_type == "CAUSAL_LM" else torch.arange(len(tokens)) % 3


def adapter_layers(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, LinearAdapterLayer)]


def train_one_step(model: nn.Module, architecture: Architecture, tokens: Tensor) -> float:
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    loss = model(input_ids=tokens, labels=labels(architecture, tokens)).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_fresh_adapter_leaves_the_logits_unchanged_bit_for_bit(
    method: str, architecture: Architecture, make_config: MakeConfig, tokens: Tensor, dtype: torch.dtype
) -> None:
    model = architecture.model().to(dtype)
    expected = logits(model, tokens)
    wrapped = get_peft_model(model, make_config(method, architecture, init_weights=True)).eval()
    assert len(adapter_layers(wrapped)) == 4 + 2 * (architecture.name == "gpt2")
    actual = logits(wrapped, tokens)
    assert actual.dtype == dtype
    assert torch.equal(actual, expected)


def test_init_weights_false_changes_the_logits(
    method: str, architecture: Architecture, wrap: Wrap, tokens: Tensor
) -> None:
    assert not torch.allclose(
        logits(wrap(method, architecture), tokens), logits(architecture.model(), tokens), atol=1e-4
    )


def test_training_changes_only_the_adapter(
    method: str, architecture: Architecture, wrap: Wrap, tokens: Tensor
) -> None:
    model = wrap(method, architecture, init_weights=True).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    # Two steps: behind a zero up-projection, angles have their first gradient in the second.
    losses = [train_one_step(model, architecture, tokens) for _ in range(2)]
    assert all(torch.isfinite(torch.tensor(losses)))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    marks = (f".{method}_", ".modules_to_save.")
    assert trainable == {name for name in before if any(mark in name for mark in marks)}
    assert changed == trainable
    assert 8 < len(trainable) < len(before)


def test_a_bfloat16_model_trains_a_float32_adapter(
    method: str, architecture: Architecture, make_config: MakeConfig, tokens: Tensor
) -> None:
    base = architecture.model().to(torch.bfloat16)
    model = get_peft_model(base, make_config(method, architecture))
    assert own_dtypes(model, method) == {torch.float32}
    outputs: list[Tensor] = []
    layer = adapter_layers(model)[0]
    layer.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    assert torch.isfinite(torch.tensor(train_one_step(model, architecture, tokens)))
    assert outputs[0].dtype == torch.bfloat16


@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_autocast_adapter_dtype_false_gives_the_base_layers_dtype(
    method: str,
    architecture: Architecture,
    make_config: MakeConfig,
    tokens: Tensor,
    tmp_path: Path,
    low_cpu_mem_usage: bool,
) -> None:
    base = architecture.model().to(torch.bfloat16)
    model = get_peft_model(base, make_config(method, architecture), autocast_adapter_dtype=False)
    assert own_dtypes(model, method) == {torch.bfloat16}
    assert train_one_step(model, architecture, tokens) > 0
    assert all(p.grad is None or p.grad.dtype == torch.bfloat16 for p in model.parameters())
    model.eval().save_pretrained(str(tmp_path))
    loaded: Any = PeftModel.from_pretrained(
        architecture.model().to(torch.bfloat16),
        str(tmp_path),
        autocast_adapter_dtype=False,
        low_cpu_mem_usage=low_cpu_mem_usage,
    )
    assert own_dtypes(loaded, method) == {torch.bfloat16}
    assert torch.equal(logits(loaded, tokens), logits(model, tokens))
    loaded.load_adapter(str(tmp_path), "wide")
    assert own_dtypes(loaded, method) == {torch.bfloat16, torch.float32}


def own_dtypes(model: nn.Module, method: str) -> set[torch.dtype]:
    """The dtypes of the parameters of a method's adapters."""
    return {parameter.dtype for name, parameter in model.named_parameters() if f".{method}_" in name}


def test_autocast(method: str, architecture: Architecture, wrap: Wrap, tokens: Tensor) -> None:
    model = wrap(method, architecture)
    exact = logits(model, tokens)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(input_ids=tokens, labels=labels(architecture, tokens)).loss
        rounded = logits(model, tokens)
    loss.backward()
    assert not torch.equal(rounded.float(), exact)
    torch.testing.assert_close(rounded.float(), exact, atol=0.1, rtol=0.1)
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_gives_the_same_gradients(
    method: str, architecture: Architecture, wrap: Wrap, tokens: Tensor, reentrant: bool
) -> None:
    model = wrap(method, architecture)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0

    def gradients() -> dict[str, Tensor]:
        model.zero_grad()
        model.train()(input_ids=tokens, labels=labels(architecture, tokens)).loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    expected = gradients()
    recomputed = []
    layer = adapter_layers(model)[0]
    layer.register_forward_hook(lambda *_: recomputed.append(1))
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    actual = gradients()
    assert len(recomputed) == 2
    assert actual.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(actual[name], gradient, msg=name)


def test_several_adapters(
    method: str, architecture: Architecture, wrap: Wrap, make_config: MakeConfig, tokens: Tensor
) -> None:
    base = logits(architecture.model(), tokens)
    first = logits(wrap(method, architecture, seed=0), tokens)
    model: Any = wrap(method, architecture, seed=0)
    model.add_adapter("second", make_config(method, architecture))
    model.eval()
    assert torch.equal(logits(model, tokens), first), "an added adapter is not active"
    model.set_adapter("second")
    second = logits(model, tokens)
    assert not torch.allclose(second, first, atol=1e-4)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trainable
    assert all("second" in name for name in trainable)
    with model.disable_adapter():
        assert torch.equal(logits(model, tokens), base)
    assert torch.equal(logits(model, tokens), second)
    model.set_adapter("default")
    assert torch.equal(logits(model, tokens), first)
    assert model.get_model_status().peft_types == {"default": method.upper(), "second": method.upper()}
    model.delete_adapter("second")
    assert torch.equal(logits(model, tokens), first)
    assert not any("second" in name for name in model.state_dict())
    assert list(model.peft_config) == ["default"]


def test_deleting_the_active_adapter_activates_another(
    method: str, architecture: Architecture, wrap: Wrap, make_config: MakeConfig, tokens: Tensor
) -> None:
    model: Any = wrap(method, architecture)
    first = logits(model, tokens)
    model.add_adapter("second", make_config(method, architecture))
    model.eval().set_adapter("second")
    with pytest.warns(UserWarning, match="Setting active adapter to default"):
        model.delete_adapter("second")
    assert torch.equal(logits(model, tokens), first)


def test_after_the_last_adapter_there_is_the_base_model_or_a_new_adapter(
    method: str, llama: Architecture, wrap: Wrap, make_config: MakeConfig, tokens: Tensor
) -> None:
    base = logits(llama.model(), tokens)
    model: Any = wrap(method, llama)
    first = logits(model, tokens)
    with pytest.warns(UserWarning, match=r"'default' was the model's last adapter.*unload\(\).*set_adapter"):
        model.delete_adapter("default")
    model.add_adapter("second", make_config(method, llama))
    model.eval().set_adapter("second")
    assert not torch.equal(logits(model, tokens), first)
    with pytest.warns(UserWarning, match="'second' was"):
        model.delete_adapter("second")
    assert torch.equal(logits(model.unload(), tokens), base)


def test_two_adapters_of_one_layer_add_up(
    method: str, llama: Architecture, wrap: Wrap, make_config: MakeConfig
) -> None:
    model: Any = wrap(method, llama)
    model.add_adapter("second", make_config(method, llama))
    layer = adapter_layers(model)[0]
    x = torch.randn(2, 3, 24)
    model.base_model.set_adapter(["default", "second"])
    both = layer(x)
    base = layer.base_layer(x)
    torch.testing.assert_close(both - base, layer.branch(x, "default") + layer.branch(x, "second"))


def test_unload_gives_the_base_model_back(
    method: str, architecture: Architecture, wrap: Wrap, tokens: Tensor
) -> None:
    untouched = architecture.model()
    model: Any = wrap(method, architecture).unload()
    assert type(model) is type(untouched)
    assert not adapter_layers(model)
    assert model.state_dict().keys() == untouched.state_dict().keys()
    assert torch.equal(logits(model, tokens), logits(untouched, tokens))


def test_generation(method: str, llama: Architecture, wrap: Wrap, tokens: Tensor) -> None:
    model: Any = wrap(method, llama)
    # The mask is given, because the tokens have a 0 among them that is no padding.
    generated = model.generate(
        input_ids=tokens,
        attention_mask=torch.ones_like(tokens),
        max_new_tokens=4,
        do_sample=False,
        pad_token_id=0,
    )
    sequence = tokens
    for _ in range(4):
        sequence = torch.cat([sequence, logits(model, sequence)[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(generated, sequence)


def test_transformers_own_adapter_calls(
    method: str, llama: Architecture, make_config: MakeConfig, tokens: Tensor
) -> None:
    model = llama.model()
    base = logits(model, tokens)
    model.add_adapter(make_config(method, llama, task_type=None), adapter_name="one")
    model.eval()
    assert not torch.allclose(logits(model, tokens), base, atol=1e-4)
    model.disable_adapters()
    assert torch.equal(logits(model, tokens), base)
    model.enable_adapters()
    model.delete_adapter("one")
    assert torch.equal(logits(model, tokens), base)


COPIES: list[Callable[[Any], Any]] = [
    copy.deepcopy,
    copy.copy,
    lambda config: pickle.loads(pickle.dumps(config)),
]


@pytest.mark.parametrize("duplicate", COPIES)
def test_a_config_survives_being_copied(
    method: str, architecture: Architecture, make_config: MakeConfig, duplicate: Callable[[Any], Any]
) -> None:
    config = make_config(method, architecture)
    twin = duplicate(config)
    assert twin == config
    assert twin is not config
    assert twin.peft_type is config.peft_type


def test_a_wrapped_model_survives_deepcopy(
    method: str, architecture: Architecture, wrap: Wrap, tokens: Tensor
) -> None:
    model = wrap(method, architecture)
    twin = copy.deepcopy(model)
    expected = logits(model, tokens)
    train_one_step(model, architecture, tokens)
    assert torch.equal(logits(twin, tokens), expected)
    assert not torch.equal(logits(model.eval(), tokens), expected)
