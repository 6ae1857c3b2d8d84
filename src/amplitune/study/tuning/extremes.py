"""The ends of a study's own search space, to be tried on the model's shapes before anything runs."""

from collections.abc import Callable

from amplitune.errors import ConfigError
from amplitune.study.settings.config import RunSpec
from amplitune.study.tuning.chosen import spaces_of, with_settings
from amplitune.study.tuning.space import Choices, Space


def check_extremes(spec: RunSpec, check: Callable[[RunSpec], object]) -> None:
    """Try each adapter setting of a study's own search space at its ends, the others as the method has them.

    The table's spaces are not tried: where a size of these does not fit a model, its trial fails and another
    one is chosen.

    Args:
        spec: a run of the method.
        check: raises ConfigError for a run that does not fit.

    Raises:
        ConfigError: a value does not fit the model or the data.
    """
    if spec.method.search_space is None:
        return
    for key, space in spaces_of(spec).items():
        if not key.startswith("config."):
            continue
        for value in _ends(space):
            try:
                check(with_settings(spec, {key: value}))
            except ConfigError as error:
                raise ConfigError(
                    f"`search_space.{key}` of method {spec.method.name} must hold values that fit, but "
                    f"{value!r} does not: {error}"
                ) from error


def _ends(space: Space) -> list[object]:
    values = space.samples()
    numeric = isinstance(space, Choices) and space.is_numeric
    return [min(values), max(values)] if numeric and len(values) > 1 else values
