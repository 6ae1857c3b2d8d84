"""Optuna's sampler over the settings of a method besides its learning rate."""

import itertools
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from amplitune.study.tuning.space import Choices, Range, Space

DRAWS = 200
"""Draws among which one is expected that was not tried; otherwise the first one left is taken."""


class Sampler:
    """Draws settings that were not tried, better ones more often: Optuna's TPE.

    Args:
        spaces: setting to space, at least one.
        seed: of the draws.
    """

    def __init__(self, spaces: Mapping[str, Space], seed: int) -> None:
        import optuna

        # Optuna's own lines, one for each of its trials, would say less than ours.
        optuna.logging.set_verbosity(logging.WARNING)
        self._optuna = optuna
        self._listed = {key: _listed(space) for key, space in spaces.items()}
        self._distributions = {key: self._distribution(space) for key, space in spaces.items()}
        self._indexed = {key for key, space in spaces.items() if isinstance(space, Choices)}
        self._study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))

    def draw(self, tried: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
        """Settings that are none of those tried; None if none are left."""
        if not self._some_left(tried):
            return None
        for _ in range(DRAWS):
            trial = self._study.ask(self._distributions)
            drawn = {key: self._value(key, value) for key, value in trial.params.items()}
            # What is measured comes by `tell`; this one only moves the generator on.
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            if drawn not in tried:
                return drawn
        return next((settings for settings in self._all() if settings not in tried), None)

    def tell(self, settings: Mapping[str, Any], value: float) -> None:
        """Learn how good settings are; larger is better."""
        parameters = {key: self._parameter(key, settings[key]) for key in self._distributions}
        create = self._optuna.trial.create_trial
        self._study.add_trial(create(params=parameters, distributions=self._distributions, value=value))

    def _distribution(self, space: Space) -> Any:
        distributions = self._optuna.distributions
        if isinstance(space, Range):
            kind = distributions.IntDistribution if space.whole else distributions.FloatDistribution
            return kind(space.low, space.high, log=space.log)
        if space.is_numeric:
            # Numbers keep their order; what they are apart is for the study to choose.
            return distributions.IntDistribution(0, len(space.values) - 1)
        return distributions.CategoricalDistribution(list(range(len(space.values))))

    def _value(self, key: str, parameter: Any) -> Any:
        listed = self._listed[key]
        return listed[parameter] if key in self._indexed and listed is not None else parameter

    def _parameter(self, key: str, value: Any) -> Any:
        listed = self._listed[key]
        return listed.index(value) if key in self._indexed and listed is not None else value

    def _some_left(self, tried: Sequence[Mapping[str, Any]]) -> bool:
        counts = [math.inf if listed is None else len(listed) for listed in self._listed.values()]
        return math.prod(counts) > len(tried)

    def _all(self) -> list[dict[str, Any]]:
        """Every combination, where each setting has finitely many values."""
        lists = [listed for listed in self._listed.values() if listed is not None]
        if len(lists) < len(self._listed):
            return []
        return [dict(zip(self._listed, values, strict=True)) for values in itertools.product(*lists)]


def _listed(space: Space) -> Sequence[Any] | None:
    """All values of a space, numbers in order; None where they are uncountable."""
    if isinstance(space, Choices):
        return space.ordered()
    return range(int(space.low), int(space.high) + 1) if space.whole else None
