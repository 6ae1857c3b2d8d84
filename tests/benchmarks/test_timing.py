"""Interleaving: every case once in every round, in changing order; and a clock that divides by the calls."""

import gc

import pytest
from benchmarks.timing import clock_of, device_clock, host_clock, interleave


def test_each_round_visits_each_case_once_in_changing_order() -> None:
    visited: list[str] = []
    cases = {name: (lambda name=name: visited.append(name)) for name in "abc"}

    def clock(case: object, calls: int) -> float:
        case()  # type: ignore[operator]
        return 1.0

    seconds = interleave(cases, rounds=20, clock=clock)
    assert {name: len(values) for name, values in seconds.items()} == {"a": 20, "b": 20, "c": 20}
    # The first two calls of each case are not timed.
    rounds = ["".join(visited[start : start + 3]) for start in range(6, len(visited), 3)]
    assert len(rounds) == 20
    assert {"".join(sorted(each)) for each in rounds} == {"abc"}
    assert len(set(rounds)) > 3


def test_a_fast_case_is_called_more_often_in_one_measurement() -> None:
    calls_of: dict[str, set[int]] = {"fast": set(), "slow": set()}

    def clock(case: object, calls: int) -> float:
        name = case()  # type: ignore[operator]
        calls_of[name].add(calls)
        return {"fast": 0.001, "slow": 0.5}[name]

    interleave({"fast": lambda: "fast", "slow": lambda: "slow"}, rounds=2, clock=clock, at_least=0.01)
    assert calls_of == {"fast": {1, 10}, "slow": {1}}


def test_the_host_clock_gives_the_time_of_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 16.0])
    monkeypatch.setattr("benchmarks.timing.time.perf_counter", lambda: next(times))
    count: list[int] = []
    assert host_clock(lambda: count.append(1), 4) == 1.5
    assert len(count) == 4


def test_garbage_collection_is_off_meanwhile_and_back_after_an_error() -> None:
    states: list[bool] = []
    assert gc.isenabled()
    interleave({"case": lambda: states.append(gc.isenabled())}, rounds=1, at_least=0.0)
    assert states[-1] is False
    assert gc.isenabled()

    def fail() -> None:
        if not gc.isenabled():
            raise ValueError

    with pytest.raises(ValueError):
        interleave({"case": fail}, rounds=1, at_least=0.0)
    assert gc.isenabled()


def test_each_device_has_its_clock() -> None:
    assert (clock_of("cpu"), clock_of("cuda")) == (host_clock, device_clock)
