"""What cannot be said, in words, on made-up findings and on studies cut down."""

import dataclasses

import pandas as pd
from tests.report.made_up import check, comparison, made_up, untested

from amplitune.report.limits import what_cannot_be_said
from amplitune.study.statistics.findings import Findings
from amplitune.study.stored.provenance import provenance
from amplitune.study.stored.results import Results


def limits(results: Results, found: Findings) -> list[str]:
    origin = provenance(results.table["environment"], results.environments)
    return what_cannot_be_said(found, results, results.trials, origin)


def test_the_rich_study_says_what_it_leaves_open(rich: Results, rich_found: Findings) -> None:
    said = limits(rich, rich_found)
    assert len(said) == 6
    assert said[0].startswith("Where methods cannot be distinguished, a smaller difference than 0.0")
    assert said[1] == (
        "The best trial lies at the edge of its search space for lora on data-to-text (learning_rate): "
        "better settings may lie beyond."
    )
    assert said[2] == "1 run failed (prefix on sentiment, seed 2)."
    assert said[3] == (
        "2 rows were made by other code than the rest and are marked: a difference may come from there."
    )
    assert "no commit holds" in said[4]
    assert said[5] == "One model was fine-tuned: nothing is said of any other."


def test_many_settings_at_an_edge_are_counted(rich: Results, rich_found: Findings) -> None:
    chosen = rich.trials["chosen"]
    trials = rich.trials.assign(edge=["learning_rate" if best else "" for best in chosen])
    said = limits(dataclasses.replace(rich, trials=trials), rich_found)
    best = int(chosen.sum())
    assert best > 4
    assert said[1] == (
        f"Of {best} best trials {best} lie at the edge of their search space: better settings may lie beyond."
    )


def test_few_seeds_test_nothing(results: Results, found: Findings) -> None:
    said = limits(results, found)
    assert any(text.startswith("Nothing is tested: a verdict takes 5 seeds") for text in said)
    assert any("no comparison has more than 2" in text for text in said)
    assert "No setting was tuned: a difference may be one of settings, such as the learning rate." in said
    assert "1 run failed (lora on sentiment, seed 1)." in said
    assert said[-1].endswith("a demonstration, no evidence.")


def test_comparisons_without_a_verdict_are_named_with_their_reason(rich: Results) -> None:
    odd = untested("b", "sora", n_seeds=7, reason="The examples differ")
    found = made_up(comparison("a", "full"), untested("a", "qaa"), untested("b", "qaa", 3), odd)
    said = limits(rich, found)
    assert said[0] == "Not tested, for want of 5 common seeds: qaa on a; qaa on b."
    assert said[1] == "Not tested: sora on b. The examples differ."


def test_what_a_task_that_ranks_nothing_leaves_untested_is_not_said_twice(rich: Results) -> None:
    silent = untested("a", "qaa", 5, reason="The task ranks nothing.")
    said = limits(rich, made_up(silent, comparison("b", "full"), checks=(check("a", False),)))
    assert not any("Not tested" in text for text in said)


def test_tasks_that_could_not_be_checked_share_a_sentence(rich: Results) -> None:
    checks = tuple(check(task, None, "Add bias to the methods.") for task in ("a", "b"))
    said = limits(rich, made_up(comparison("a", "full"), checks=checks))
    assert said[0] == "Whether the tasks a and b can rank methods is not known. Add bias to the methods."


def test_missing_and_many_failed_runs_are_counted(rich: Results) -> None:
    table = rich.table.copy()
    table.loc[table["method"].isin(["qaa", "lora"]), "status"] = "failed"
    said = limits(dataclasses.replace(rich, table=table[table["method"] != "sora"]), made_up())
    assert "31 runs failed, of lora, qaa and prefix." in said
    assert "15 runs are missing, of sora." in said


def test_several_models_are_not_said_to_be_one(rich: Results) -> None:
    study = rich.study | {"tasks": [{"name": "a", "model_name_or_path": "x"}, {"name": "b"}]}
    assert not any("One model" in text for text in limits(dataclasses.replace(rich, study=study), made_up()))


def test_an_empty_study_leaves_nothing_to_say(rich: Results) -> None:
    empty = dataclasses.replace(
        rich, table=rich.table.iloc[:0], trials=rich.trials.iloc[:0], study={}, environments={}
    )
    assert limits(empty, made_up()) == []
    assert isinstance(empty.table, pd.DataFrame)
