"""What each trial of a tuning tries: learning rates, then the method's other settings, then finer rates."""

import math
from collections.abc import Mapping
from typing import Any

from amplitune.study.tuning.sampler import Sampler
from amplitune.study.tuning.search_spaces import LEARNING_RATE
from amplitune.study.tuning.space import Choices, Space

Merit = tuple[float, float]
"""How good a trial is: compared from the left, larger is better."""


class Proposals:
    """Proposes settings one after the other, each from how good those before were.

    1. The first two thirds of the trials, rounded up, are learning rates at the method's default size: a
       grid, even on the scale of their space, from its middle outwards, so that a tuning which is cut short
       has seen the plausible rates. The rate comes first because results depend on it most.
    2. The others vary the other settings at the best rate of 1, drawn by Optuna's TPE sampler. The rate is
       held so that a difference is due to what was varied; adapters that scale by alpha / r want about the
       same rate at every r. Nothing is tried twice: with one seed it would teach nothing.
    3. Where nothing else is left to vary, the remaining trials halve the wider gap beside the best rate.

    A proposal depends on the seed and on what was told before. So a tuning that was cut short goes on as if
    it had not been: it asks from the beginning, and tells what it has.

    Args:
        spaces: setting to space.
        defaults: setting to the value that it has where tuning does not set it.
        trials: how many there will be.
        seed: the sampler's.
    """

    def __init__(
        self, spaces: Mapping[str, Space], defaults: Mapping[str, Any], trials: int, seed: int
    ) -> None:
        others = {key: space for key, space in spaces.items() if key != LEARNING_RATE}
        self._start = {key: space.nearest(defaults[key]) for key, space in others.items()}
        self._sampler = Sampler(others, seed) if others else None
        self._rates = spaces.get(LEARNING_RATE)
        # Taken from the end.
        self._planned: list[dict[str, Any]] = [dict(self._start)]
        if self._rates is not None:
            grid = learning_rate_grid(self._rates, math.ceil(2 * trials / 3))
            self._planned = [{LEARNING_RATE: rate, **self._start} for rate in reversed(grid)]
        self._told: list[tuple[dict[str, Any], Merit | None]] = []
        self._sampled_at: dict[str, Any] | None = None

    def ask(self) -> dict[str, Any] | None:
        """The settings of the next trial; None if none are left that were not tried."""
        if self._planned:
            return self._planned.pop()
        best = self._best()
        return self._other_settings(best) or self._finer_rate(best)

    def tell(self, settings: dict[str, Any], merit: Merit | None) -> None:
        """How good settings were; None for a trial that failed."""
        self._told.append((settings, merit))
        if self._sampled_at is not None:
            self._teach(settings, merit)

    def _best(self) -> dict[str, Any]:
        """The best settings so far; where every trial failed, those with the smallest rate."""
        done = [(merit, -number) for number, (_, merit) in enumerate(self._told) if merit is not None]
        if done:
            return self._told[-max(done)[1]][0]
        return min((settings for settings, _ in self._told), key=lambda entry: entry.get(LEARNING_RATE, 0.0))

    def _other_settings(self, best: Mapping[str, Any]) -> dict[str, Any] | None:
        if self._sampler is None:
            return None
        if self._sampled_at is None:
            self._sampled_at = {key: best[key] for key in best if key == LEARNING_RATE}
            for settings, merit in self._told:
                self._teach(settings, merit)
        at = self._sampled_at.items()
        tried = [
            {key: settings[key] for key in self._start}
            for settings, _ in self._told
            if at <= settings.items()
        ]
        drawn = self._sampler.draw(tried)
        return None if drawn is None else {**self._sampled_at, **drawn}

    def _teach(self, settings: Mapping[str, Any], merit: Merit | None) -> None:
        """Tell the sampler, unless the rate was another: it would take a bad rate for a bad size."""
        assert self._sampler is not None
        assert self._sampled_at is not None
        if merit is not None and self._sampled_at.items() <= settings.items():
            self._sampler.tell(settings, merit[0])

    def _finer_rate(self, best: Mapping[str, Any]) -> dict[str, Any] | None:
        """The best settings with a rate between theirs and a neighbour's, on the side of the wider gap."""
        if self._rates is None:
            return None
        at = best[LEARNING_RATE]
        tried = {settings[LEARNING_RATE] for settings, _ in self._told}
        if isinstance(self._rates, Choices):
            left = [rate for rate in self._rates.ordered() if rate not in tried]
            nearest = min(left, key=lambda rate: abs(math.log(rate / at)), default=None)
            return None if nearest is None else {**best, LEARNING_RATE: nearest}
        place = self._rates.position(at)
        positions = [self._rates.position(rate) for rate in tried]
        below = max((other for other in positions if other < place), default=0.0)
        above = min((other for other in positions if other > place), default=1.0)
        other = above if above - place > place - below else below
        rate = self._rates.at((place + other) / 2)
        return None if rate in tried else {**best, LEARNING_RATE: rate}


def learning_rate_grid(space: Space, number: int) -> list[float]:
    """Learning rates over a space, even on its scale, from the middle outwards and the lower of two first.

    From three on the ends of the space are among them, so that a best rate at an end can be seen.

    Example:
        >>> from amplitune.study.tuning.space import Range
        >>> learning_rate_grid(Range(1e-4, 1e-1, log=True), 4)
        [0.001, 0.01, 0.0001, 0.1]
    """
    if isinstance(space, Choices):
        rates = space.ordered()
    elif number < 3:
        rates = [space.at((place + 1) / (number + 1)) for place in range(number)]
    else:
        rates = [space.at(place / (number - 1)) for place in range(number)]
    middle = (len(rates) - 1) / 2
    order = sorted(range(len(rates)), key=lambda place: (abs(place - middle), place))
    return [rates[place] for place in order[:number]]
