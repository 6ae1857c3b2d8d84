"""The tuning of a tiny model: its trials, its choice, what it never reads, and being killed in between."""

import gc
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.study.tiny_models import PAIRS, write_rows
from tests.study.tuning.conftest import Tune

from amplitune.errors import ConfigError, TrainingError
from amplitune.study.running import evaluation
from amplitune.study.running.locks import Lock
from amplitune.study.running.run import run
from amplitune.study.settings.config import RunSpec, StudyConfig
from amplitune.study.tuning.chosen import tuned
from amplitune.study.tuning.give_up import give_up_trial
from amplitune.study.tuning.trials import read_trials

RUN = "amplitune.study.tuning.job.run"
MakeStudy = Callable[..., StudyConfig]


def stored(directory: Path) -> list[Any]:
    """What a tuning kept, without the times."""
    return read_trials(directory).drop(columns="seconds").to_dict("records")


def runs_of(directory: Path) -> list[RunSpec]:
    paths = sorted(directory.glob("tuning/*/*/trial-???/run.resolved.yaml"))
    return [RunSpec.parse(yaml.safe_load(path.read_text())) for path in paths]


def test_a_tuning_keeps_its_trials_and_its_choice(
    tiny_study: MakeStudy, tune_here: Tune, tmp_path: Path
) -> None:
    lines: list[str] = []
    chosen = tune_here(tiny_study(), say=lines.append)
    folder = tmp_path / "tuning" / "pairs" / "lora"
    assert {path.name for path in folder.iterdir()} == {
        *("tuning.json", "chosen.json", "trial-000", "trial-001", "trial-002", "trial-003"),
    }
    assert json.loads((folder / "chosen.json").read_text()) == chosen
    trials = read_trials(tmp_path)
    assert len(trials) == chosen["trials"] == len(lines) == 4
    assert list(trials["status"]) == ["done"] * 4
    assert trials["score"].notna().all()
    # Three rates at the default size, then a size at the best of them.
    sizes = [settings["config.r"] for settings in trials["settings"]]
    assert sizes[:3] == [8] * 3
    assert sizes[3] != 8
    assert list(trials["learning_rate"][:3]) == pytest.approx([9.48683e-4, 3e-5, 3e-2])
    ranked = trials.sort_values(["score", "loss"], ascending=[False, True], kind="stable")
    assert chosen["trial"] == ranked["trial"].iloc[0] == trials["trial"][trials["chosen"]].item()
    assert chosen["settings"] == ranked["settings"].iloc[0]
    assert chosen["spaces"]["config.r"] == [2, 4, 8, 16, 32]


def test_a_trial_is_a_run_on_the_validation_split(
    tiny_study: MakeStudy, tune_here: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, scored = tiny_study(tuning={"trials": 1, "max_steps": 2, "seed": 77}), []
    evaluate = evaluation.evaluate

    def spy(model: Any, tokenizer: Any, task: Any, examples: Any, *rest: Any) -> Any:
        scored.append(([e.prompt for e in examples], [e.prompt for e in task.validation]))
        return evaluate(model, tokenizer, task, examples, *rest)

    monkeypatch.setattr("amplitune.study.running.run.evaluate", spy)
    tune_here(study)
    ((examples, validation),) = scored
    assert examples == validation
    assert len(examples) == 4
    (spec,) = runs_of(tmp_path)
    assert (spec.seed, spec.trial, spec.training.max_steps, spec.save_adapters) == (77, 0, 2, False)
    folder = tmp_path / spec.folder
    names = {path.name for path in folder.iterdir()}
    assert {"run.resolved.yaml", "command.txt", "env.json", "metrics.jsonl", "status.json"} <= names
    assert "adapter" not in names
    events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    (validation_event,) = (event for event in events if event["event"] == "validation")
    assert validation_event["rougeL"] == read_trials(tmp_path)["score"].item()
    assert not any(event["event"] == "test" for event in events)


def test_other_test_data_give_the_same_trials(
    tiny: Path, tiny_study: MakeStudy, tune_here: Tune, tmp_path: Path
) -> None:
    other = write_rows(tmp_path / "other.jsonl", [{"prompt": "xyz", "completion": "nothing"}, *PAIRS[:2]])
    study = tiny_study(tuning={"trials": 2, "max_steps": 2})
    poisoned = study.model_copy(update={"tasks": [study.tasks[0].model_copy(update={"test_file": other})]})
    tune_here(study, directory=tmp_path / "a")
    tune_here(poisoned, directory=tmp_path / "b")
    assert len(stored(tmp_path / "a")) == 2
    assert stored(tmp_path / "a") == stored(tmp_path / "b")


class KilledError(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("cut", [1, 3])
def test_a_killed_tuning_goes_on_to_the_same_choice(
    tiny_study: MakeStudy, tune_here: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    study = tiny_study()
    chosen = tune_here(study, directory=tmp_path / "whole")
    began = []

    def killed(spec: RunSpec, *rest: Any) -> Any:
        began.append(spec.trial)
        if spec.trial == cut:
            raise KilledError
        return run(spec, *rest)

    monkeypatch.setattr(RUN, killed)
    with pytest.raises(KilledError):
        tune_here(study, directory=tmp_path / "killed")
    assert not list((tmp_path / "killed").glob("tuning/*/*/chosen.json"))

    def counted(spec: RunSpec, *rest: Any) -> Any:
        began.append(spec.trial)
        return run(spec, *rest)

    monkeypatch.setattr(RUN, counted)
    again = tune_here(study, directory=tmp_path / "killed")
    assert began == [*range(cut + 1), *range(cut, 4)]
    assert again == chosen
    assert stored(tmp_path / "killed") == stored(tmp_path / "whole")


def test_a_complete_tuning_is_not_done_again(
    tiny_study: MakeStudy, tune_here: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tiny_study(tuning={"trials": 1, "max_steps": 1})
    chosen = tune_here(study)
    monkeypatch.setattr(RUN, lambda *_: pytest.fail("a trial was done"))
    assert tune_here(study) == chosen
    with pytest.raises(ConfigError, match=r"other settings than the study asks for: `run.tuning.trials`"):
        tune_here(tiny_study(tuning={"trials": 2, "max_steps": 1}))


def test_a_trial_with_other_settings_is_refused(
    tiny_study: MakeStudy, tune_here: Tune, tmp_path: Path
) -> None:
    study = tiny_study(tuning={"trials": 1, "max_steps": 1})
    tune_here(study)
    folder = tmp_path / "tuning" / "pairs" / "lora"
    (folder / "chosen.json").unlink()
    resolved = folder / "trial-000" / "run.resolved.yaml"
    resolved.write_text(resolved.read_text().replace("max_steps: 1", "max_steps: 9"))
    with pytest.raises(ConfigError, match=r"trial-000 holds a trial with other settings.*training.max_steps"):
        tune_here(study)


DIVERGING = {
    "learning_rate": [1e-3, 1e30],
    "training.max_grad_norm": [1e30],
}


def test_a_failed_trial_counts_and_cannot_be_chosen(
    tiny_study: MakeStudy, tune_here: Tune, tmp_path: Path
) -> None:
    method = {"method": "full", "search_space": {**DIVERGING, "learning_rate": [1e30, 1e-3]}}
    study = tiny_study(methods=[method], training={"logging_steps": 1}, tuning={"trials": 3})
    chosen = tune_here(study, "full")
    trials = read_trials(tmp_path)
    assert list(trials["status"]) == ["done", "failed"]
    assert "loss must be finite" in trials["reason"][1]
    assert trials["score"].isna().to_list() == [False, True]
    assert (chosen["trial"], chosen["failed"], chosen["trials"]) == (0, 1, 2)


def test_a_method_whose_trials_all_fail_fails_with_their_reason(
    tiny_study: MakeStudy, tune_here: Tune, tmp_path: Path
) -> None:
    method = {"method": "full", "search_space": {**DIVERGING, "learning_rate": [1e30, 2e30]}}
    study = tiny_study(methods=[method], training={"logging_steps": 1}, tuning={"trials": 2})
    for attempt in range(2):
        with pytest.raises(TrainingError, match=r"all 2 failed. The first: .*loss must be finite"):
            tune_here(study, "full")
        assert len(read_trials(tmp_path)) == 2
        assert len(list(tmp_path.glob("tuning/*/*/trial-*.failed-1"))) == 2 * attempt
    assert not list(tmp_path.glob("tuning/*/*/chosen.json"))


def test_a_trial_that_killed_its_process_is_given_up(
    tiny_study: MakeStudy, tune_here: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tiny_study(tuning={"trials": 2, "max_steps": 1})
    (spec,) = study.runs()
    assert not give_up_trial(spec, tmp_path, "killed")

    def killed(*_: Any) -> Any:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("amplitune.study.running.run.fit", killed)
        with pytest.raises(KilledError):
            tune_here(study)
    gc.collect()  # the dead process held a lock
    assert give_up_trial(spec, tmp_path, "killed by SIGKILL")
    assert not give_up_trial(spec, tmp_path, "killed by SIGKILL")
    chosen = tune_here(study)
    trials = read_trials(tmp_path)
    assert list(trials["status"]) == ["failed", "done"]
    assert list(trials["reason"]) == ["killed by SIGKILL", None]
    assert list(trials["learning_rate"]) == pytest.approx([3e-4, 3e-3])
    assert (chosen["trial"], chosen["failed"]) == (1, 1)


def test_one_process_tunes_a_method_at_a_time(tiny_study: MakeStudy, tune_here: Tune, tmp_path: Path) -> None:
    lock = Lock(tmp_path / "tuning" / "pairs" / "lora" / ".lock")
    assert lock.acquire()
    with pytest.raises(ConfigError, match="must be done by one process at a time"):
        tune_here(tiny_study())
    lock.release()


def test_a_full_disk_is_not_held_against_the_settings(
    tiny_study: MakeStudy, tune_here: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tiny_study(tuning={"trials": 1, "max_steps": 1})

    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("amplitune.study.running.run.fit", full)
        with pytest.raises(TrainingError, match="No space left"):
            tune_here(study)
    assert read_trials(tmp_path).empty
    assert tune_here(study)["failed"] == 0
    assert len(list(tmp_path.glob("tuning/*/*/trial-000.failed-1"))) == 1


def test_a_best_rate_at_the_end_of_its_space_is_an_edge(tiny_study: MakeStudy, tune_here: Tune) -> None:
    method = {"method": "lora", "search_space": {"learning_rate": {"low": 1e-9, "high": 1e-2}}}
    tuning = {"trials": 4, "max_steps": 2, "select_by": "validation_loss"}
    chosen = tune_here(tiny_study(methods=[method], tuning=tuning))
    assert chosen["settings"] == {"learning_rate": 1e-2}
    assert chosen["edge"] == ["learning_rate"]


def test_the_loss_chooses_where_it_is_told_to(tiny_study: MakeStudy, tune_here: Tune, tmp_path: Path) -> None:
    tuning = {"trials": 3, "max_steps": 2, "select_by": "validation_loss"}
    chosen = tune_here(tiny_study(tuning=tuning, methods=["lora", "prefix"]), "prefix")
    trials = read_trials(tmp_path)
    assert chosen["trial"] == trials["loss"].argmin()
    assert chosen["loss"] == trials["loss"].min()


def test_every_method_has_as_many_trials(tiny_study: MakeStudy, tune_here: Tune, tmp_path: Path) -> None:
    methods = ["base", "full", "lora", "qaa", "ia3"]
    study = tiny_study(methods=methods, tuning={"trials": 2, "max_steps": 1})
    assert tune_here(study, "base") == {}
    for method in methods[1:]:
        assert tune_here(study, method)["trials"] == 2
    trials = read_trials(tmp_path)
    assert trials.groupby("method")["trial"].count().to_dict() == dict.fromkeys(methods[1:], 2)
    assert {spec.training.max_steps for spec in runs_of(tmp_path)} == {1}
    assert {spec.seed for spec in runs_of(tmp_path)} == {1000}


def test_runs_take_the_chosen_settings(tiny_study: MakeStudy, tune_here: Tune, tmp_path: Path) -> None:
    study = tiny_study(methods=["base", "lora"])
    base, lora = study.runs()
    assert tuned(base, tmp_path) == base
    with pytest.raises(
        ConfigError, match=r"chosen.json is not there.\nRun `amplitune tune STUDY.yaml --task"
    ):
        tuned(lora, tmp_path)
    chosen = tune_here(study)
    found = tuned(lora, tmp_path)
    assert found.training.learning_rate == chosen["settings"]["learning_rate"]
    assert found.method.config == {"r": chosen["settings"]["config.r"]}
    assert (found.seed, found.training.max_steps, found.trial) == (0, 3, None)
    assert tuned(lora.model_copy(update={"seed": 5}), tmp_path).training == found.training
    resolved = lora.model_copy(update={"task": lora.task.resolved("generation")})
    assert tuned(resolved, tmp_path).method == found.method
    longer = tiny_study(methods=["lora"], training={"max_steps": 7, "eval_steps": 1}).runs()[0]
    with pytest.raises(ConfigError, match=r"for a study with other settings: `training\.max_steps`"):
        tuned(longer, tmp_path)
    untuned = tiny_study(tuning=None).runs()[0]
    assert tuned(untuned, tmp_path) == untuned
    shutil.rmtree(tmp_path / "tuning")


def test_a_study_that_does_not_tune_is_told_so(tiny_study: MakeStudy, tune_here: Tune) -> None:
    with pytest.raises(ConfigError, match="`tuning` must be set"):
        tune_here(tiny_study(tuning=None))
