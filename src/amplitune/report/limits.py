"""What a study cannot say, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from amplitune.report.opening import TESTED, signed
from amplitune.report.setting import models
from amplitune.report.words import counted, joined, sentence
from amplitune.study.statistics.comparison import SEEDS_FOR_A_CLAIM
from amplitune.study.statistics.findings import Comparison, Findings
from amplitune.study.stored.provenance import Provenance
from amplitune.study.stored.results import Results, method_names

NAMED = 3
"""Failed or missing runs that are named one by one; of more, the methods are named."""

LISTED = 4
"""Settings at an edge that are named one by one; of more only their number is said."""


def what_cannot_be_said(
    found: Findings, results: Results, trials: pd.DataFrame, origin: Provenance
) -> list[str]:
    """Say what a study leaves open, the gravest first.

    Args:
        found: what the statistics say.
        results: the results that they say it of.
        trials: the trials of tuning, empty without tuning.
        origin: what differs between the environments of the rows.

    Returns:
        Sentences, none where nothing is to be said.
    """
    table = results.table
    return [
        *_unknown_checks(found),
        *_untested(found),
        *_undetectable(found),
        *_settings(results.study, trials, table),
        *_runs("failed", _names(table[table["status"] == "failed"])),
        *_runs("missing", _missing(results)),
        *_origins(table, origin),
        *_models(results.study),
    ]


def _unknown_checks(found: Findings) -> list[str]:
    unknown: dict[str, list[str]] = {}
    for check in found.checks:
        if check.ranks is None:
            unknown.setdefault(check.reason, []).append(check.task)
    sentences = []
    for reason, tasks in unknown.items():
        which = "the task" if len(tasks) == 1 else "the tasks"
        sentences.append(
            f"Whether {which} {joined(tasks)} can rank methods is not known. {sentence(reason)}".strip()
        )
    return sentences


def _untested(found: Findings) -> list[str]:
    """Comparisons without a verdict; those on a task that ranks nothing are said already."""
    silent = {check.task for check in found.checks if check.ranks is False}
    untested = [c for c in found.comparisons if c.verdict not in TESTED and c.task not in silent]
    if not untested:
        return []
    few = [c for c in untested if c.n_seeds < SEEDS_FOR_A_CLAIM]
    if len(few) == len(found.comparisons):
        most = max(c.n_seeds for c in few)
        return [
            f"Nothing is tested: a verdict takes {SEEDS_FOR_A_CLAIM} seeds, and no comparison has more than "
            f"{most}. Differences are observations here, not findings."
        ]
    sentences = []
    if few:
        sentences.append(f"Not tested, for want of {SEEDS_FOR_A_CLAIM} common seeds: {_where(few)}.")
    reasons: dict[str, list[Comparison]] = {}
    for comparison in untested:
        if comparison not in few:
            reasons.setdefault(comparison.reason, []).append(comparison)
    sentences += [f"Not tested: {_where(own)}. {sentence(reason)}".strip() for reason, own in reasons.items()]
    return sentences


def _where(comparisons: Sequence[Comparison]) -> str:
    tasks: dict[str, list[str]] = {}
    for comparison in comparisons:
        tasks.setdefault(comparison.task, []).append(comparison.method)
    return "; ".join(f"{joined(dict.fromkeys(methods))} on {task}" for task, methods in tasks.items())


def _undetectable(found: Findings) -> list[str]:
    """How large a difference must be for these runs to find it; per task, of what was not told apart."""
    largest: dict[str, Comparison] = {}
    for c in found.comparisons:
        if c.verdict == "cannot distinguish" and c.detectable is not None:
            before = largest.get(c.task)
            if before is None or c.detectable > (before.detectable or 0.0):
                largest[c.task] = c
    if not largest:
        return []
    sizes = joined(
        f"{signed(c.metric, c.detectable or 0.0).lstrip('+')} on {task}" for task, c in largest.items()
    )
    return [
        f"Where methods cannot be distinguished, a smaller difference than {sizes} might have gone unseen."
    ]


def _settings(study: Mapping[str, Any], trials: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    if table.empty:
        return []
    if not study.get("tuning") and trials.empty:
        return ["No setting was tuned: a difference may be one of settings, such as the learning rate."]
    chosen = trials[trials["chosen"].astype(bool)] if len(trials) else trials
    at_edge = [
        f"{row['method']} on {row['task']} ({row['edge']})"
        for row in chosen.to_dict("records")
        if row["edge"]
    ]
    if not at_edge:
        return []
    one = len(at_edge) == 1
    if len(at_edge) > LISTED:
        # Each is marked in its task's table of chosen settings.
        return [
            f"Of {len(chosen)} best trials {len(at_edge)} lie at the edge of their search space: better "
            "settings may lie beyond."
        ]
    return [
        f"The best {'trial lies' if one else 'trials lie'} at the edge of {'its' if one else 'their'} search "
        f"space for {joined(at_edge)}: better settings may lie beyond."
    ]


def _names(rows: pd.DataFrame) -> list[tuple[str, str, int]]:
    return [
        (str(t), str(m), int(s)) for t, m, s in zip(rows["task"], rows["method"], rows["seed"], strict=True)
    ]


def _missing(results: Results) -> list[tuple[str, str, int]]:
    """The runs that the study asks for and that no row is there of."""
    tasks = [str(t.get("name")) for t in results.study.get("tasks") or () if isinstance(t, Mapping)]
    seeds = [int(seed) for seed in results.study.get("seeds") or ()]
    present = set(_names(results.table))
    wanted = [
        (task, method, seed) for task in tasks for method in method_names(results.study) for seed in seeds
    ]
    return [run for run in wanted if run not in present] if present else []


def _runs(what: str, runs: Sequence[tuple[str, str, int]]) -> list[str]:
    if not runs:
        return []
    start = (
        f"{counted(len(runs), 'run')} {'failed' if what == 'failed' else ('is' if len(runs) == 1 else 'are')}"
    )
    start += "" if what == "failed" else " missing"
    if len(runs) <= NAMED:
        which = joined(f"{method} on {task}, seed {seed}" for task, method, seed in runs)
        return [f"{start} ({which})."]
    return [f"{start}, of {joined(dict.fromkeys(method for _, method, _ in runs))}."]


def _origins(table: pd.DataFrame, origin: Provenance) -> list[str]:
    sentences = []
    if origin.odd:
        number = int(table["environment"].isin(list(origin.odd)).sum())
        kinds = {one.fact for found in origin.odd.values() for one in found}
        what = "code" if {"amplitune_commit", "packages.amplitune"} & kinds else "environment"
        verb = "was" if number == 1 else "were"
        sentences.append(
            f"{counted(number, 'row')} {verb} made by other {what} than the rest and "
            f"{'is' if number == 1 else 'are'} marked: a difference may come from there."
        )
    if origin.dirty:
        sentences.append(
            "Rows were made by code with changes that no commit holds, so no commit says what they ran."
        )
    return sentences


def _models(study: Mapping[str, Any]) -> list[str]:
    named = models(study)
    if any(name.startswith("zoo:") for name in named):
        return ["The bundled model is small and its text generated: a demonstration, no evidence."]
    return ["One model was fine-tuned: nothing is said of any other."] if len(named) == 1 else []
