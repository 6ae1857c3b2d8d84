"""Findings made up for tests of words and tables."""

from typing import Any

from amplitune.study.statistics.findings import Comparison, Estimate, Findings, TaskCheck


def comparison(task: str, method: str, verdict: str = "better", **changes: Any) -> Comparison:
    """A tested comparison with lora in BLEU; its numbers fit its verdict."""
    difference = {"better": 3.2, "worse": -6.1}.get(verdict, 0.1)
    values: dict[str, Any] = {
        "task": task,
        "method": method,
        "baseline": "lora",
        "metric": "bleu",
        "view": "tuned",
        "n_seeds": 5,
        "difference": difference,
        "low": difference - 1,
        "high": difference + 1,
        "seed_error": 0.4,
        "example_error": 0.2,
        "p": 0.01,
        "p_adjusted": 0.02,
        "detectable": 1.5,
        "verdict": verdict,
        "reason": "",
    }
    return Comparison(**values | changes)


def untested(task: str, method: str, n_seeds: int = 2, **changes: Any) -> Comparison:
    """A comparison on too few seeds."""
    empty = dict.fromkeys(("low", "high", "seed_error", "example_error", "p", "p_adjusted", "detectable"))
    reason = f"A verdict takes 5 common seeds, but there are only {n_seeds} common seeds."
    return comparison(
        task, method, "not tested", **{"n_seeds": n_seeds, "reason": reason, **empty, **changes}
    )


def check(
    task: str, ranks: bool | None, reason: str = "Full fine-tuning ties with biases alone"
) -> TaskCheck:
    """A check of a task."""
    return TaskCheck(task, "bleu", ranks, reason, ())


def made_up(*comparisons: Comparison, checks: tuple[TaskCheck, ...] = (), **changes: Any) -> Findings:
    """Findings that hold these comparisons."""
    estimates: tuple[Estimate, ...] = ()
    values: dict[str, Any] = {"baseline": "lora", "estimates": estimates, "across": (), "notes": ()}
    return Findings(comparisons=comparisons, checks=checks, **values | changes)
