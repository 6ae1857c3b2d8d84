"""A stored run done again: identical where nothing changed, judged by its interval where something did."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import yaml
from scipy import stats
from tests.study.tiny_models import run_spec
from typer.testing import CliRunner

from amplitune.commands.report import reproduce as command
from amplitune.errors import ConfigError
from amplitune.study.running.run import run
from amplitune.study.stored.provenance import differences, provenance
from amplitune.study.stored.reproduce import (
    StoredRow,
    compare,
    differences_here,
    find_row,
    prediction_interval,
    reproduce,
)


@pytest.fixture(scope="module")
def study(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study's folder with one real run and two more seeds that were written by hand."""
    directory = tmp_path_factory.mktemp("reproduce") / "study"
    status = run(run_spec(tiny, "lora"), directory, Path("study.yaml"))
    assert status["status"] == "done"
    cell = directory / "runs/pairs/lora"
    for seed, shift in ((1, 0.5), (2, -0.5)):
        folder = cell / f"seed-{seed}"
        folder.mkdir()
        lines = [json.loads(line) for line in (cell / "seed-0/metrics.jsonl").read_text().splitlines()]
        for line in lines:
            if line["event"] == "test":
                line["perplexity"] += shift
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (folder / "status.json").write_text('{"status": "done"}')
        (folder / "run.resolved.yaml").write_text((cell / "seed-0/run.resolved.yaml").read_text())
    return directory


def content(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_a_run_done_again_is_identical_and_nothing_stored_changes(study: Path, tmp_path: Path) -> None:
    before = content(study)
    row = find_row(study, "pairs/lora/seed-0")
    found = reproduce(row, tmp_path)
    assert found.identical
    assert found.holds
    assert {one.metric for one in found.outcomes} >= {"bleu", "rougeL", "perplexity", "trainable_parameters"}
    assert content(study) == before
    assert (tmp_path / "runs/pairs/lora/seed-0/status.json").is_file()


def test_the_command_says_what_differs_first_and_then_what_came_back(study: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, [str(study), "pairs/lora/seed-0", "-o", str(tmp_path / "again")])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("Environment: ")
    assert "'loss'" not in done.stdout
    assert done.stdout.endswith("pairs/lora/seed-0 is identical.\n")
    changed = json.loads((study / "runs/pairs/lora/seed-0/metrics.jsonl").read_text().splitlines()[-2])
    assert f"perplexity: {changed['perplexity']:.10g} stored" in done.stdout


def test_the_command_ends_with_1_where_a_number_does_not_come_back(study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study/runs/pairs/lora/seed-0"
    shutil.copytree(study / "runs/pairs/lora/seed-0", folder)
    metrics = folder / "metrics.jsonl"
    metrics.write_text(re.sub(r'"perplexity": [\d.]+', '"perplexity": 1.5', metrics.read_text()))
    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, [str(tmp_path / "study"), "pairs/lora/seed-0"])
    assert done.exit_code == 1
    assert "perplexity: 1.5 stored, " in done.stdout
    assert done.stdout.endswith("has changed, and with one seed there is no interval to judge that by.\n")
    assert sorted(path.name for path in (tmp_path / "study/runs/pairs/lora").iterdir()) == ["seed-0"]


def test_the_same_folder_twice_is_refused(study: Path) -> None:
    with pytest.raises(ConfigError, match="must be new"):
        reproduce(find_row(study, "pairs/lora/seed-0"), study)


@pytest.mark.parametrize(
    ("again", "answer"), [(10.0, "identical"), (11.0, "within"), (13.5, "outside"), (None, "outside")]
)
def test_a_number_is_judged_by_the_interval_of_one_more_run(again: float | None, answer: str) -> None:
    row = made_up([10.0, 10.5, 9.0, 11.0, 9.5])
    found = compare(row, {"status": "done"}, {} if again is None else {"bleu": again})
    assert [one.answer for one in found.outcomes] == [answer]
    assert found.holds == (answer in ("identical", "within"))


def test_what_an_older_version_did_not_measure_is_not_held_against_a_run() -> None:
    found = compare(made_up([10.0]), {"status": "done"}, {"bleu": 10.0, "cka": 0.9})
    assert [one.metric for one in found.outcomes] == ["bleu"]
    assert found.identical


def test_one_seed_gives_no_interval() -> None:
    found = compare(made_up([10.0]), {"status": "done"}, {"bleu": 10.1})
    assert found.outcomes[0].answer == "unknown"
    assert not found.holds


@pytest.mark.parametrize(
    ("stored", "again", "holds"),
    [
        ({"status": "failed", "reason": "NaN"}, {"status": "failed", "reason": "NaN"}, True),
        ({"status": "failed", "reason": "NaN"}, {"status": "failed", "reason": "no disk"}, False),
        ({"status": "failed", "reason": "NaN"}, {"status": "done"}, False),
        ({"status": "done"}, {"status": "failed", "reason": "NaN"}, False),
    ],
)
def test_a_failure_is_reproduced_by_the_same_failure(
    stored: dict[str, Any], again: dict[str, Any], holds: bool
) -> None:
    row = made_up([])
    found = compare(StoredRow(**{**vars(row), "status": stored}), again, {})
    assert found.holds == holds


def made_up(values: list[float]) -> StoredRow:
    measured = {"bleu": values[0]} if values else {}
    spec: Any = None
    return StoredRow("t/m/seed-0", Path("x"), spec, {"status": "done"}, {}, measured, {"bleu": values})


def test_the_interval_covers_the_next_run_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    draws = random.normal(3, 2, (4000, 6))
    inside = 0
    for *seeds, following in draws.tolist():
        low, high = prediction_interval(seeds) or (0.0, 0.0)
        inside += low <= following <= high
    assert stats.binomtest(inside, len(draws), 0.95).pvalue > 0.001


@pytest.mark.parametrize("row", ["pairs/lora/seed-9", "pairs/lora", "../x/lora/seed-0", "pairs/lroa/seed-0"])
def test_an_unknown_row_names_its_neighbours(study: Path, row: str) -> None:
    with pytest.raises(ConfigError, match=r"`ROW` must be TASK/METHOD/seed-N"):
        find_row(study, row)


def test_a_folder_without_runs_is_no_study(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="with finished runs"):
        find_row(tmp_path, "a/b/seed-0")


@pytest.mark.parametrize("lost", ["held_out_text", "processes_per_run", "distributed"])
def test_a_run_of_an_older_version_is_read_with_the_defaults(study: Path, tmp_path: Path, lost: str) -> None:
    values = yaml.safe_load((study / "runs/pairs/lora/seed-0/run.resolved.yaml").read_text())
    del values[lost]
    folder = tmp_path / "runs/pairs/lora/seed-0"
    folder.mkdir(parents=True)
    (folder / "run.resolved.yaml").write_text(yaml.safe_dump(values))
    (folder / "status.json").write_text('{"status": "done"}')
    assert find_row(tmp_path, "pairs/lora/seed-0").spec == find_row(study, "pairs/lora/seed-0").spec


def test_what_tuning_chose_is_not_chosen_again(study: Path, tmp_path: Path) -> None:
    values = yaml.safe_load((study / "runs/pairs/lora/seed-0/run.resolved.yaml").read_text())
    values |= {"tuning": {"trials": 3}}
    values["training"]["learning_rate"] = 0.0123
    folder = tmp_path / "runs/pairs/lora/seed-0"
    folder.mkdir(parents=True)
    (folder / "run.resolved.yaml").write_text(yaml.safe_dump(values))
    (folder / "status.json").write_text('{"status": "done"}')
    spec = find_row(tmp_path, "pairs/lora/seed-0").spec
    assert spec.tuning is None
    assert spec.training.learning_rate == 0.0123


def test_differences_are_named_code_first() -> None:
    stored = {"cores": 2, "amplitune_commit": "a" * 40, "packages": {"torch": "2.8.0", "trl": "1.0"}}
    here = {"cores": 4, "amplitune_commit": "b" * 40 + "-dirty", "packages": {"torch": "2.9.0"}}
    assert [one.text for one in differences(stored, here)] == [
        "amplitune commit bbbbbbbbbbbb-dirty instead of aaaaaaaaaaaa",
        "cores 4 instead of 2",
        "torch 2.9.0 instead of 2.8.0",
        "trl unknown instead of 1.0",
    ]


def test_the_usual_environment_is_that_of_most_rows() -> None:
    environments = {"a": {"device": "cpu"}, "b": {"device": "H200"}, "unused": {"device": "tpu"}}
    found = provenance(["a", "b", "b", None], environments)
    assert found.usual == "b"
    assert {key: [one.text for one in odd] for key, odd in found.odd.items()} == {
        "a": ["device cpu instead of H200"]
    }
    assert provenance([None], {}).usual is None


def test_environments_are_compared_after_the_run_s_own_set_up(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = find_row(study, "pairs/lora/seed-0")
    found, _ = differences_here(row)
    assert [one.fact for one in found] == []
    other = {**row.environment, "packages": {**row.environment["packages"], "torch": "1.0"}}
    differ, dirty = differences_here(StoredRow(**{**vars(row), "environment": other}))
    assert [one.fact for one in differ] == ["packages.torch"]
    assert isinstance(dirty, bool)
