"""Proposals: rates before sizes, nothing twice, optima of known objectives, the same from a seed."""

import math
import statistics
from collections.abc import Callable
from typing import Any

import pytest

from amplitune.study.tuning.proposals import Merit, Proposals, learning_rate_grid
from amplitune.study.tuning.search_spaces import LEARNING_RATE
from amplitune.study.tuning.space import Choices, Range, Space

RATES = Range(1e-5, 1e-1, log=True)
SIZES: dict[str, Space] = {"config.r": Choices((2, 4, 8, 16, 32)), "config.kind": Choices(("a", "b"))}
DEFAULTS = {LEARNING_RATE: 1e-3, "config.r": 8, "config.kind": "a"}
Objective = Callable[[dict[str, Any]], Merit | None]


def run(
    spaces: dict[str, Space], objective: Objective, trials: int = 9, seed: int = 0
) -> list[dict[str, Any]]:
    proposals, asked = Proposals(spaces, DEFAULTS, trials, seed), []
    for _ in range(trials):
        settings = proposals.ask()
        if settings is None:
            break
        asked.append(settings)
        proposals.tell(settings, objective(settings))
    return asked


def peaked(settings: dict[str, Any]) -> Merit:
    """Best at a rate of 1e-2 and a size of 32."""
    return (-abs(math.log10(settings[LEARNING_RATE]) + 2) + math.log2(settings.get("config.r", 8)) / 100, 0.0)


@pytest.mark.parametrize("trials", range(1, 13))
def test_two_thirds_of_the_trials_are_rates_and_nothing_is_tried_twice(trials: int) -> None:
    asked = run({LEARNING_RATE: RATES, **SIZES}, peaked, trials)
    assert len(asked) == trials
    first = math.ceil(2 * trials / 3)
    assert {(entry["config.r"], entry["config.kind"]) for entry in asked[:first]} == {(8, "a")}
    assert len({entry[LEARNING_RATE] for entry in asked[:first]}) == first
    best = max(asked[:first], key=peaked)[LEARNING_RATE]
    for entry in asked[first:]:
        assert entry[LEARNING_RATE] == best
        assert (entry["config.r"], entry["config.kind"]) != (8, "a")
    assert len({tuple(entry.values()) for entry in asked}) == trials


def test_a_method_without_sizes_refines_its_rate() -> None:
    asked = run({LEARNING_RATE: RATES}, peaked, trials=12)
    assert len(asked) == 12
    steps = [abs(math.log10(entry[LEARNING_RATE]) + 2) for entry in asked]
    assert min(steps[8:]) < min(steps[:8]) / 2
    assert len({entry[LEARNING_RATE] for entry in asked}) == 12


def test_rates_are_refined_once_all_sizes_were_tried() -> None:
    spaces: dict[str, Space] = {LEARNING_RATE: RATES, "config.kind": Choices(("a", "b"))}
    asked = run(spaces, lambda entry: (peaked(entry)[0] + (entry["config.kind"] == "b"), 0.0), trials=9)
    assert len(asked) == 9
    assert [entry["config.kind"] for entry in asked] == ["a"] * 6 + ["b"] * 3
    assert len({entry[LEARNING_RATE] for entry in asked[6:]}) == 3


def test_a_list_of_rates_ends_when_each_was_tried() -> None:
    asked = run({LEARNING_RATE: Choices((1e-4, 1e-3, 1e-2))}, peaked, trials=9)
    assert sorted(entry[LEARNING_RATE] for entry in asked) == [1e-4, 1e-3, 1e-2]
    asked = run({LEARNING_RATE: Choices((1e-5, 1e-4, 1e-3, 1e-2, 1e-1))}, peaked, trials=3)
    assert [entry[LEARNING_RATE] for entry in asked] == [1e-3, 1e-4, 1e-2]


def test_every_size_is_found_where_there_are_trials_enough() -> None:
    asked = run({LEARNING_RATE: RATES, **SIZES}, peaked, trials=27)
    assert len(asked) == 27
    assert len({(entry["config.r"], entry["config.kind"]) for entry in asked}) == 10
    assert max(asked, key=peaked)["config.r"] == 32


def test_the_sampler_learns_where_trials_are_many() -> None:
    space: dict[str, Space] = {"training.weight_decay": Range(0.0, 1.0)}
    proposals = Proposals(space, {"training.weight_decay": 0.0}, 60, seed=0)
    far = []
    for _ in range(60):
        settings = proposals.ask()
        assert settings is not None
        far.append(abs(settings["training.weight_decay"] - 0.7))
        proposals.tell(settings, (-far[-1], 0.0))
    # A quarter of the way is the median of uniform draws.
    assert statistics.median(far[20:]) < 0.125


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_tuning_that_was_cut_short_goes_on_as_if_it_had_not_been(cut: int) -> None:
    spaces = {LEARNING_RATE: RATES, "training.weight_decay": Range(0.0, 1.0), **SIZES}
    defaults = {**DEFAULTS, "training.weight_decay": 0.0}

    def objective(settings: dict[str, Any]) -> Merit | None:
        return None if settings[LEARNING_RATE] > 5e-2 else peaked(settings)

    whole: list[dict[str, Any]] = []
    proposals = Proposals(spaces, defaults, 12, seed=3)
    for number in range(12):
        if number == cut:
            proposals = Proposals(spaces, defaults, 12, seed=3)
            for settings in whole:
                assert proposals.ask() == settings
                proposals.tell(settings, objective(settings))
        asked = proposals.ask()
        assert asked is not None
        whole.append(asked)
        proposals.tell(asked, objective(asked))
    uninterrupted = Proposals(spaces, defaults, 12, seed=3)
    for settings in whole:
        assert uninterrupted.ask() == settings
        uninterrupted.tell(settings, objective(settings))
    assert len(whole) == 12


def test_another_seed_draws_other_settings() -> None:
    spaces: dict[str, Space] = {LEARNING_RATE: RATES, "training.weight_decay": Range(0.0, 1.0)}
    defaults = {**DEFAULTS, "training.weight_decay": 0.0}

    def last(seed: int) -> Any:
        proposals = Proposals(spaces, defaults, 3, seed)
        for _ in range(2):
            settings = proposals.ask()
            assert settings is not None
            proposals.tell(settings, peaked(settings))
        return proposals.ask()

    assert last(0) == last(0) != last(1)


def test_failed_trials_cannot_be_the_best() -> None:
    asked = run({LEARNING_RATE: RATES, **SIZES}, lambda _: None, trials=6)
    assert len(asked) == 6
    assert asked[-1][LEARNING_RATE] == min(entry[LEARNING_RATE] for entry in asked)

    def fails_where_best(settings: dict[str, Any]) -> Merit | None:
        return None if settings[LEARNING_RATE] >= 1e-2 else peaked(settings)

    asked = run({LEARNING_RATE: RATES, **SIZES}, fails_where_best, trials=6)
    done = [entry[LEARNING_RATE] for entry in asked[:4] if entry[LEARNING_RATE] < 1e-2]
    assert {entry[LEARNING_RATE] for entry in asked[4:]} == {max(done)}


def test_ties_go_to_the_second_part_of_the_merit() -> None:
    asked = run({LEARNING_RATE: RATES, **SIZES}, lambda entry: (0.5, -entry[LEARNING_RATE]), trials=6)
    assert asked[-1][LEARNING_RATE] == 1e-5


def test_the_default_size_is_the_nearest_that_the_space_has() -> None:
    spaces: dict[str, Space] = {"config.r": Choices((1, 5, 64)), "config.kind": Choices(("b", "c"))}
    asked = run({LEARNING_RATE: RATES, **spaces}, peaked, trials=1)
    assert asked == [{LEARNING_RATE: 1e-3, "config.r": 5, "config.kind": "b"}]


@pytest.mark.parametrize(
    ("number", "rates"),
    [
        (1, [1e-3]),
        (2, [2.15443e-4, 4.64159e-3]),
        (3, [1e-3, 1e-5, 1e-1]),
        (5, [1e-3, 1e-4, 1e-2, 1e-5, 1e-1]),
    ],
)
def test_the_grid_goes_from_the_middle_outwards(number: int, rates: list[float]) -> None:
    assert learning_rate_grid(RATES, number) == pytest.approx(rates, rel=1e-5)
