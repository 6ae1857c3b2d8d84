"""Sample predictions side by side: the same test examples answered by each method."""

from dataclasses import dataclass
from typing import Any, cast

import pandas as pd

EXAMPLES = 5
LONGEST = 1500  # characters of a text that are shown


@dataclass(frozen=True)
class Answer:
    """What one method predicted; `right` is known for a label only."""

    method: str
    prediction: str | None
    right: bool | None


@dataclass(frozen=True)
class Sample:
    """A test example with its references and each method's prediction."""

    prompt: str
    references: tuple[str, ...]
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Samples:
    """The samples of one task, the number of examples they were taken from and the seed of each method."""

    samples: tuple[Sample, ...]
    available: int
    seeds: dict[str, int]


def pick_samples(predictions: pd.DataFrame, methods: list[str], kind: str | None) -> Samples:
    """Choose examples evenly spaced over the test examples that every method has answered.

    Args:
        predictions: rows of one task's finished runs, with the columns of `Results.predictions`.
        methods: the methods in the order of the page; those without a prediction are left out.
        kind: "classification" compares a prediction with its label.

    Returns:
        At most `EXAMPLES` samples, each method with its lowest seed. No prediction influences the choice.
    """
    by_method: dict[str, dict[str, dict[str, Any]]] = {}
    seeds = {}
    for method in methods:
        mine = predictions[predictions["method"] == method]
        if mine.empty:
            continue
        seeds[method] = int(mine["seed"].min())
        first = mine[mine["seed"] == seeds[method]]
        by_method[method] = {str(row["id"]): cast("dict[str, Any]", row) for row in first.to_dict("records")}
    if not by_method:
        return Samples((), 0, {})
    answers = list(by_method.values())
    shared = [key for key in answers[0] if all(key in other for other in answers[1:])]
    wanted = min(EXAMPLES, len(shared))
    chosen = [shared[round(i * (len(shared) - 1) / max(1, wanted - 1))] for i in range(wanted)]
    samples = tuple(_sample(key, by_method, kind) for key in chosen)
    return Samples(samples, len(shared), seeds)


def _sample(key: str, by_method: dict[str, dict[str, dict[str, Any]]], kind: str | None) -> Sample:
    example = next(iter(by_method.values()))[key]
    listed = example["references"]
    references = tuple(_clip(text) or "" for text in (listed if isinstance(listed, list) else ()))
    answers = []
    for method, rows in by_method.items():
        prediction = rows[key]["prediction"]
        text = None if prediction is None else str(prediction)
        right = text in references if kind == "classification" and text is not None else None
        answers.append(Answer(method, _clip(text), right))
    return Sample(_clip(example["prompt"]) or "", references, tuple(answers))


def _clip(text: object) -> str | None:
    if text is None:
        return None
    shown = str(text)
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}… ({len(shown) - LONGEST} more characters)"
