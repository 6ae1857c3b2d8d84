"""Strict configuration models: each wrong key or value is one line that names it."""

from typing import Annotated

import pytest
from pydantic import BeforeValidator, Field, model_validator

from amplitune.errors import ConfigError
from amplitune.study.settings.strict import StrictModel


class Leaf(StrictModel):
    depth: int = Field(1, ge=1)
    width: float = 0.5


class Root(StrictModel):
    name: str
    leaf: Leaf = Leaf()
    leaves: list[Annotated[Leaf, BeforeValidator(lambda value: value)]] = Field(default_factory=list)
    maybe: Leaf | None = None

    @model_validator(mode="after")
    def _check(self) -> "Root":
        if self.name == "bad":
            raise ConfigError("`name` must be good, but is 'bad'. Rename it.")
        return self


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        ({"nme": "x"}, ["`name` is missing", "`nme` is not a key that is known here. Did you mean 'name'?"]),
        ({"name": "x", "leaf": {"dept": 1}}, ["`leaf.dept` is not a key", "'depth'"]),
        ({"name": "x", "leaves": [{}, {"widht": 1}]}, ["`leaves.1.widht` is not a key", "'width'"]),
        ({"name": "x", "maybe": {"wdth": 1}}, ["`maybe.wdth` is not a key", "'width'"]),
        ({"name": "x", "leaf": {"depth": 0}}, ["`leaf.depth`", "greater than or equal to 1", "but is 0"]),
        ({"name": "x", "leaf": 3}, ["`leaf`", "but is 3"]),
        ({"name": "bad"}, ["`name` must be good"]),
    ],
)
def test_each_problem_is_a_line(values: dict[str, object], lines: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        Root.parse(values, "study.yaml")
    message = str(caught.value)
    assert all(line in message for line in lines), message
    assert all(line.startswith("study.yaml: ") for line in message.splitlines())


def test_a_model_cannot_be_changed_afterwards() -> None:
    root = Root.parse({"name": "x", "leaf": {"width": "2"}})
    assert root.leaf.width == 2.0
    with pytest.raises(ValueError, match="frozen"):
        root.name = "y"  # type: ignore[misc]
