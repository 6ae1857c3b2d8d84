"""Names of adapters that torch cannot keep parameters under."""

from typing import Any

import pytest
from peft import get_peft_model
from tests.adapters.conftest import Architecture, MakeConfig, Wrap

from amplitune.errors import ConfigError


@pytest.mark.parametrize("name", ["half", "keys", "training", "v1.0", ""])
def test_a_name_that_cannot_be_a_key_is_refused_before_the_model_is_touched(
    name: str, method: str, llama: Architecture, wrap: Wrap, make_config: MakeConfig
) -> None:
    fresh: Any = llama.model()
    modules = [path for path, _ in fresh.named_modules()]
    with pytest.raises(ConfigError, match=r"`adapter_name` must be .* such as 'my_"):
        get_peft_model(fresh, make_config(method, llama), adapter_name=name)
    assert [path for path, _ in fresh.named_modules()] == modules
    model: Any = wrap(method, llama)
    state = list(model.state_dict())
    with pytest.raises(ConfigError, match=f"but is '{name}'"):
        model.add_adapter(name, make_config(method, llama))
    assert list(model.peft_config) == ["default"]
    assert list(model.state_dict()) == state
