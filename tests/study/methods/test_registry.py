"""Methods on tiny models: which parameters train, by formula and by count, and what a model refuses."""

import math
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from tests.study.tiny_models import HIDDEN, LAYERS
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from amplitune.adapters import count_parameters
from amplitune.errors import ConfigError
from amplitune.study.methods.registry import CONTROLS, METHODS, apply_method, create_optimizer, find_method

KINDS = {"llama": "generation", "gpt2": "generation", "bert": "classification"}
# Output width of q_proj and v_proj: Llama's keys and values have half as many heads here.
WIDTHS = {"llama": (HIDDEN, HIDDEN // 2), "gpt2": (3 * HIDDEN,), "bert": (HIDDEN, HIDDEN)}
HEAD = {"llama": 0, "gpt2": 0, "bert": 2 * HIDDEN + 2}
QUBITS = math.ceil(math.log2(HIDDEN))


def build(folder: Path, name: str, device: str = "cpu") -> Any:
    auto = AutoModelForSequenceClassification if name == "bert" else AutoModelForCausalLM
    torch.manual_seed(0)
    with torch.device(device):
        return auto.from_config(AutoConfig.from_pretrained(folder / name))


def expected_trainable(method: str, model: str) -> int:
    """Trainable parameters by formula, the classifier's head included."""
    per_layer = {
        "lora": sum(8 * (HIDDEN + d_out) for d_out in WIDTHS[model]),
        "sora": sum(8 * (HIDDEN + d_out) + 8 for d_out in WIDTHS[model]),
        "qaa": sum(QUBITS + QUBITS * d_out + d_out for d_out in WIDTHS[model]),
        "qaa-givens": sum(QUBITS + QUBITS * d_out + d_out for d_out in WIDTHS[model]),
        "qaa-frozen": sum(QUBITS * d_out + d_out for d_out in WIDTHS[model]),
        "qaa-squares": sum(QUBITS * d_out + d_out for d_out in WIDTHS[model]),
        # The outputs of every linear layer: attention's, and the feed-forward block's.
        "bias": {"llama": 4 * HIDDEN + 2 * 40, "gpt2": 9 * HIDDEN, "bert": 5 * HIDDEN + 40}[model],
        # Keys and values of 20 virtual tokens.
        "prefix": 20 * 2 * (HIDDEN // 2 if model == "llama" else HIDDEN),
    }[method]
    pooler = HIDDEN if (method, model) == ("bias", "bert") else 0
    return LAYERS * per_layer + HEAD[model] + pooler


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("model", KINDS)
@pytest.mark.parametrize(
    "method", ["lora", "prefix", "sora", "qaa", "bias", "qaa-frozen", "qaa-squares", "qaa-givens"]
)
def test_trainable_parameters_equal_the_formula(tiny: Path, method: str, model: str, device: str) -> None:
    wrapped = apply_method(build(tiny, model, device), find_method(method), KINDS[model], {})
    count = count_parameters(wrapped)
    assert count.trainable == expected_trainable(method, model)
    angles = LAYERS * len(WIDTHS[model]) * QUBITS if method == "qaa" else 0
    assert (count.angles, count.classical) == (angles, count.trainable - angles)
    assert count.total == sum(p.numel() for p in build(tiny, model, "meta").parameters())


def test_base_and_full(tiny: Path) -> None:
    for name, trains in (("base", False), ("full", True)):
        model = build(tiny, "llama", "meta")
        applied: Any = apply_method(model, find_method(name), "generation", {})
        assert id(applied) == id(model)
        assert {p.requires_grad for p in model.parameters()} == {trains}
        with pytest.raises(ConfigError, match="must be empty"):
            apply_method(model, find_method(name), "generation", {"r": 1})


OTHERS: dict[str, dict[str, Any]] = {
    "ia3": {},
    "vera": {},
    "loha": {},
    "lokr": {},
    "oft": {},
    "hra": {},
    "fourierft": {"n_frequency": 10},
    "prompt_tuning": {"num_virtual_tokens": 4},
    "ln_tuning": {},
    "adalora": {"total_step": 10},
}


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("method", OTHERS)
def test_any_other_peft_method_by_its_name(tiny: Path, method: str, device: str) -> None:
    model = apply_method(build(tiny, "llama", device), find_method(method), "generation", OTHERS[method])
    assert isinstance(model, peft.PeftModel)
    assert 0 < count_parameters(model).trainable < count_parameters(model).total


def test_the_named_methods_are_those_of_the_comparison() -> None:
    assert list(METHODS) == ["base", "bias", "full", "lora", "prefix", "sora", "qaa", *CONTROLS]
    assert find_method("vera").learning_rate == 1e-3


@pytest.mark.parametrize(
    ("method", "model", "settings", "message"),
    [
        ("lora", "llama", {"target_modules": ["query"]}, "target_modules"),
        ("qaa", "llama", {"target_modules": ["query"]}, "target_modules"),
        ("sora", "llama", {"target_modules": "nothing.*"}, "target_modules"),
        ("lora", "llama", {"r": -1}, "r"),
        ("qaa", "llama", {"n_qubits": 3}, "n_qubits"),
        ("vblora", "llama", {}, "vector_length"),
        ("prompt_tuning", "llama", {}, "prompt_tuning does not fit LlamaForCausalLM"),
        ("hra", "gpt2", {}, "Conv1D"),
        ("trainable_tokens", "llama", {}, "trains nothing"),
    ],
)
def test_settings_that_do_not_fit_the_model(
    tiny: Path, method: str, model: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        apply_method(build(tiny, model, "meta"), find_method(method), KINDS[model], settings)
    assert message in str(caught.value)


def test_a_method_that_starts_from_the_weights_says_so_on_the_meta_device(tiny: Path) -> None:
    with pytest.raises(NotImplementedError):
        apply_method(build(tiny, "llama", "meta"), find_method("adamss"), "generation", {})
    assert count_parameters(
        apply_method(build(tiny, "llama"), find_method("adamss"), "generation", {})
    ).trainable


@pytest.mark.parametrize(
    "method", ["bias", "full", "lora", "sora", "qaa", "prefix", "qaa-frozen", "qaa-givens"]
)
def test_the_optimizer_holds_what_trains_and_decays_matrices_only(tiny: Path, method: str) -> None:
    model = apply_method(build(tiny, "llama"), find_method(method), "generation", {})
    config = model.peft_config["default"] if isinstance(model, peft.PeftModel) else None
    optimizer = create_optimizer(model, config, 1e-3, 0.1)
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert len(held) == len(trainable)
    assert {id(parameter) for parameter in held} == {id(parameter) for parameter in trainable}
    for group in optimizer.param_groups:
        assert group["lr"] == 1e-3
        assert {p.ndim >= 2 for p in group["params"]} == {group["weight_decay"] == 0.1}
