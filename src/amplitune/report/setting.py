"""What a study ran, in words: model, methods, tasks, seeds, and how the runs ended."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amplitune.report.aggregate import method_order
from amplitune.report.roles import roles_of
from amplitune.report.words import counted, joined, spans
from amplitune.study.stored.results import BASE, Results, method_names


def what_was_run(results: Results, trials: int = 0) -> str:
    """Say what was run and how it ended.

    Args:
        results: the results of the study.
        trials: how many trials of tuning there were.
    """
    study, table = results.study, results.table
    names = [name for name in method_names(study) or method_order(results) if name != BASE]
    roles = roles_of(study, names)
    methods = [name for name in names if roles[name].kind in ("method", "reference")]
    tasks = [
        f"{task.get('name')} ({task['kind']})" if task.get("kind") else str(task.get("name"))
        for task in study.get("tasks") or ()
        if isinstance(task, Mapping)
    ]
    seeds = [int(seed) for seed in study.get("seeds") or sorted(set(table["seed"]))]
    text = f"This study fine-tunes {joined(models(study)) or 'a model'}"
    text += f" with {counted(len(methods), 'method')}: {joined(methods)}." if methods else "."
    besides = {kind: sum(role.kind == kind for role in roles.values()) for kind in ("control", "matched")}
    parts = [counted(besides["control"], "control")] if besides["control"] else []
    parts += (
        [counted(besides["matched"], "variant") + " with matched parameters"] if besides["matched"] else []
    )
    if parts:
        text += f" Besides, there {'are' if sum(besides.values()) > 1 else 'is'} {joined(parts)}."
    if tasks:
        text += f" The {'task is' if len(tasks) == 1 else f'{len(tasks)} tasks are'} {joined(tasks)}."
    if seeds:
        text += f" Each method is trained once from each of {counted(len(seeds), 'seed')} ({spans(seeds)})."
    if trials:
        text += f" {counted(trials, 'trial')} on the validation split chose the settings."
    if (table["method"] == BASE).any():
        text += f" The method named {BASE} is the untouched model: evaluated, never trained."
    done, failed = int((table["status"] == "done").sum()), int((table["status"] == "failed").sum())
    ended = f"{counted(done, 'run')} finished" + (f" and {failed} failed" if failed else ", none failed")
    return f"{text} {ended}." if len(table) else f"{text} No run has ended yet."


def models(study: Mapping[str, Any]) -> list[str]:
    """Name the models of a study; of one in a local folder the name, not where it lies on that machine."""
    tasks = [task for task in study.get("tasks") or () if isinstance(task, Mapping)]
    default = study.get("model_name_or_path")
    named = [task.get("model_name_or_path") or default for task in tasks] or [default]
    return list(
        dict.fromkeys(Path(name).name if Path(name).is_absolute() else name for name in named if name)
    )
