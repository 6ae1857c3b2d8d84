"""A study that tunes: tunings come first, their runs take what they chose, a failed one fails its runs."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.study.execution_bench import Bench, make_bench

from amplitune.errors import ConfigError
from amplitune.study.execution.execute import plan
from amplitune.study.execution.units import units_of
from amplitune.study.settings.config import StudyConfig
from amplitune.study.stored.results import load_results


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = make_bench(tmp_path, monkeypatch)
    bench.chosen = {name: {"learning_rate": 0.25} for name in ("a", "b", "untunable", "deadly")}
    return bench


def tuned_study(bench: Bench, *names: str, **changes: Any) -> StudyConfig:
    return bench.study(*names, tuning={"trials": 2}, **changes)


def test_tunings_come_first_and_their_runs_take_what_they_chose(bench: Bench) -> None:
    study = tuned_study(bench, "a", "b", seeds=[0, 1])
    assert bench.compare(study) == ["tune-a", "tune-b", "a", "b", "a", "b"]
    for name in ("a", "b"):
        stored = yaml.safe_load((bench.run(name) / "run.resolved.yaml").read_text())
        assert stored["training"]["learning_rate"] == 0.25
    assert bench.compare(study) == []
    # Another seed needs no other tuning.
    assert bench.compare(tuned_study(bench, "a", "b", seeds=[0, 1, 2])) == ["a", "b"]


def test_a_run_needs_the_tuning_of_its_own_method_alone(bench: Bench) -> None:
    units = units_of(tuned_study(bench, "a", "b").runs(), bench.folder)
    assert [(unit.label, unit.needs) for unit in units] == [
        ("pairs / a / tuning", ()),
        ("pairs / b / tuning", ()),
        ("pairs / a / seed 0", ("pairs / a / tuning",)),
        ("pairs / b / seed 0", ("pairs / b / tuning",)),
    ]


def test_what_trains_nothing_is_not_tuned(bench: Bench) -> None:
    study = tuned_study(bench, "a")
    base = bench.study("a").methods[0].model_copy(update={"method": "base", "name": "base"})
    study = study.model_copy(update={"methods": [base]})
    assert [unit.kind for unit in units_of(study.runs(), bench.folder)] == ["run"]


def test_a_failed_tuning_fails_its_runs_and_the_rest_goes_on(bench: Bench) -> None:
    study = tuned_study(bench, "untunable", "a", seeds=[0, 1])
    assert bench.compare(study) == ["tune-untunable", "tune-a", "a", "a"]
    reasons = bench.statuses()
    assert reasons["a"] is None
    assert reasons["untunable"] == (
        "There are no settings to run with. The tuning's process ended with exit code 1. "
        "It last printed: every trial failed. Look at their reasons."
    )
    assert bench.run("untunable", 1).is_dir()
    assert "[6/6]" in bench.output.getvalue()
    # Neither the tuning nor its runs are tried again by themselves.
    assert bench.compare(study) == []
    assert bench.compare(study, retry_failed=True) == ["tune-untunable"]
    assert (bench.run("untunable").with_name("seed-0.failed-1") / "status.json").exists()


def test_a_trial_that_kills_its_process_twice_has_failed_and_the_tuning_goes_on(bench: Bench) -> None:
    started = bench.compare(tuned_study(bench, "deadly", "a"))
    assert started.count("tune-deadly") == 3
    assert sorted(started) == ["a", "deadly", "tune-a", "tune-deadly", "tune-deadly", "tune-deadly"]
    assert bench.statuses() == {"deadly": None, "a": None}
    (trial,) = load_results(bench.folder).trials.to_dict("records")
    assert (trial["trial"], trial["status"]) == (0, "failed")
    assert "killed by SIGKILL" in trial["reason"]
    assert "it goes on with the same trial" in bench.output.getvalue()


def test_runs_made_without_tuning_are_not_taken_for_tuned_ones(bench: Bench) -> None:
    bench.compare(bench.study("a"))
    with pytest.raises(ConfigError, match="nothing of pairs / a was tuned"):
        plan(tuned_study(bench, "a"), bench.folder)


def test_runs_of_another_choice_are_refused(bench: Bench) -> None:
    bench.compare(tuned_study(bench, "a"))
    chosen = bench.folder / "tuning" / "pairs" / "a" / "chosen.json"
    chosen.write_text(chosen.read_text().replace("0.25", "0.5"))
    with pytest.raises(ConfigError, match=r"`training\.learning_rate` differ"):
        plan(tuned_study(bench, "a"), bench.folder)
