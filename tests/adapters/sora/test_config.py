"""Values that SoRA's fields cannot have, among them those that a comparison alone lets through."""

import copy
from typing import Any

import pytest
from tests.adapters.conftest import Architecture, Wrap

from amplitune import SoRAConfig, create_sora_optimizer
from amplitune.errors import ConfigError

INFINITE = float("inf")
LINEAR: dict[str, Any] = {"lambda_schedule": "linear", "lambda_num_steps": 5, "lambda_end": 1.0}


@pytest.mark.parametrize("value", [INFINITE, float("nan"), "1", True])
@pytest.mark.parametrize(
    ("field", "fields"), [("lora_alpha", {}), ("sparse_lambda", {}), ("lambda_end", LINEAR)]
)
def test_numbers_are_finite(field: str, fields: dict[str, Any], value: Any) -> None:
    with pytest.raises(ConfigError, match=f"`{field}` must be .*but is {value!r}"):
        SoRAConfig(**fields | {field: value})


@pytest.mark.parametrize("value", [INFINITE, float("nan"), True])
def test_alphas_of_modules_are_finite(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"`alpha_pattern` has for 'q_proj' .*above 0 and finite"):
        SoRAConfig(alpha_pattern={"q_proj": value})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sparse_lambda": INFINITE}, "`sparse_lambda` must be at least 0 and finite, but is inf"),
        ({"sparse_lambda": "3e-4"}, "`sparse_lambda` must be at least 0 and finite, but is '3e-4'"),
        (LINEAR | {"lambda_end": INFINITE}, "`lambda_end` must be at least 0 and finite .*but is inf"),
        (LINEAR | {"lambda_num_steps": 2.5}, "`lambda_num_steps` must be a positive integer .*but is 2.5"),
        (LINEAR | {"lambda_num_steps": "5"}, "`lambda_num_steps` must be a positive integer .*but is '5'"),
    ],
)
def test_the_optimizer_refuses_them_too(
    llama: Architecture, wrap: Wrap, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        create_sora_optimizer(wrap("sora", llama), lr=1e-3, **arguments)


@pytest.mark.parametrize("value", ["x", -1, 1.5, None, True])
def test_pruned_gates_is_a_count(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"`pruned_gates` must be an integer of at least 0, but is .*unset"):
        SoRAConfig(pruned_gates=value)


def test_good_values_stay(llama: Architecture) -> None:
    fields = LINEAR | {"lora_alpha": 4, "sparse_lambda": 0, "pruned_gates": 3}
    config = SoRAConfig(**copy.deepcopy(fields))
    assert {name: getattr(config, name) for name in fields} == fields
