"""The metrics of a comparison, in one table."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from amplitune.study.data.examples import TaskKind
from amplitune.study.metrics.bertscore import bertscore_sums
from amplitune.study.metrics.classification import accuracy_sums, class_sums, f1_from_sums, mcc_from_sums
from amplitune.study.metrics.perplexity import perplexity_from_sums, perplexity_sums
from amplitune.study.metrics.sums import Array, Sums, mean_from_sums
from amplitune.study.metrics.text import bleu_from_sums, bleu_signature, bleu_sums, rouge_sums

Scores = dict[str, float | str]


@dataclass(frozen=True)
class Metric:
    """A number that says how good a model is on a task.

    Its value on any set of examples, the test split or one resampled from it, is
    `from_sums(sum of the examples' statistics, number of examples)`: there is no other definition.

    Args:
        sums: computes the statistics of each example, and perhaps those of other metrics of the table, as a
            mapping from name to an array (shape (examples, statistics)).
        from_sums: the metric of examples whose statistics were summed (shape (..., statistics) to (...)),
            given how many there were.
        needs: what `sums` is given: "texts" (predictions, references), "labels" (predictions, labels,
            number of classes), or "model" (model, tokenised rows, padding token).
        kind: the kind of task it scores.
        higher_is_better: whether a larger value is the better one.
        scale: lowest and highest value.
        settings: keyword arguments that `sums` takes besides.
        extra: the optional dependency it needs.
    """

    sums: Callable[..., Mapping[str, Array]]
    from_sums: Callable[[Array, int], Array]
    needs: Literal["texts", "labels", "model"]
    kind: TaskKind
    higher_is_better: bool = True
    scale: tuple[float, float] = (0.0, 1.0)
    settings: tuple[str, ...] = ()
    extra: str | None = None


METRICS: dict[str, Metric] = {
    "bleu": Metric(bleu_sums, bleu_from_sums, "texts", "generation", scale=(0.0, 100.0)),
    "rouge1": Metric(rouge_sums, mean_from_sums, "texts", "generation"),
    "rouge2": Metric(rouge_sums, mean_from_sums, "texts", "generation"),
    "rougeL": Metric(rouge_sums, mean_from_sums, "texts", "generation"),
    "bertscore_f1": Metric(
        bertscore_sums,
        mean_from_sums,
        "texts",
        "generation",
        scale=(-1.0, 1.0),
        settings=("bertscore_model", "bertscore_num_layers"),
        extra="bertscore",
    ),
    "perplexity": Metric(
        perplexity_sums,
        perplexity_from_sums,
        "model",
        "generation",
        higher_is_better=False,
        scale=(1.0, float("inf")),
    ),
    "accuracy": Metric(accuracy_sums, mean_from_sums, "labels", "classification"),
    "f1": Metric(class_sums, f1_from_sums, "labels", "classification"),
    "mcc": Metric(class_sums, mcc_from_sums, "labels", "classification", scale=(-1.0, 1.0)),
}


def default_metrics(kind: TaskKind) -> list[str]:
    """The metrics of a kind of task that need no optional dependency.

    Args:
        kind: "generation" or "classification".

    Example:
        >>> default_metrics("classification")
        ['accuracy', 'f1', 'mcc']
    """
    return [name for name, metric in METRICS.items() if metric.kind == kind and metric.extra is None]


def text_sums(
    names: Iterable[str], predictions: Sequence[str], references: Sequence[Sequence[str]], **settings: Any
) -> Sums:
    """Compute the statistics of each example for those of the named metrics that compare texts.

    Args:
        names: keys of `METRICS`; those that need something else are passed over.
        predictions: one text an example; may be empty.
        references: one or more texts an example.
        settings: what single metrics need: `bertscore_model`, `bertscore_num_layers`.

    Returns:
        Name to statistics; empty where there are no examples.

    Example:
        >>> text_sums(["rouge1"], ["a cat sat", ""], [["a cat sat", "a dog"], ["a"]])["rouge1"].tolist()
        [[1.0], [0.0]]
    """
    return _sums("texts", names, (predictions, references), settings, len(predictions))


def label_sums(names: Iterable[str], predictions: Sequence[int], labels: Sequence[int], classes: int) -> Sums:
    """Compute the statistics of each example for those of the named metrics that compare classes.

    Args:
        names: keys of `METRICS`; those that need something else are passed over.
        predictions: one class number an example.
        labels: the true ones.
        classes: how many classes the task has.

    Returns:
        Name to statistics; empty where there are no examples.

    Example:
        >>> label_sums(["accuracy"], [0, 1], [0, 0], 2)["accuracy"].tolist()
        [[1.0], [0.0]]
    """
    return _sums("labels", names, (predictions, labels, classes), {}, len(predictions))


def corpus_scores(sums: Sums) -> dict[str, float]:
    """Compute metrics over all examples from the statistics of each.

    Args:
        sums: name to statistics, as `text_sums` and `label_sums` give them.

    Returns:
        Name to value; a metric that is not defined on these examples is left out.

    Example:
        >>> corpus_scores(label_sums(["accuracy"], [0, 1, 1, 1], [0, 1, 0, 1], 2))
        {'accuracy': 0.75}
    """
    values = {
        name: float(METRICS[name].from_sums(rows.sum(axis=0), len(rows)))
        for name, rows in sums.items()
        if len(rows)
    }
    # The tenth decimal is beyond any meaning; without it a perfect BLEU is 100 and not a little more.
    return {name: round(value, 10) for name, value in values.items() if not np.isnan(value)}


def score_texts(
    names: Iterable[str], predictions: Sequence[str], references: Sequence[Sequence[str]], **settings: Any
) -> Scores:
    """Compute those of the named metrics that compare texts.

    Args:
        names: keys of `METRICS`; those that need something else are passed over.
        predictions: one text an example; may be empty.
        references: one or more texts an example.
        settings: what single metrics need: `bertscore_model`, `bertscore_num_layers`.

    Returns:
        Name to value, and `bleu_signature` with BLEU; empty where there are no examples.

    Example:
        >>> score_texts(["rouge1"], ["the cat sat"], [["the cat sat", "a dog ran"]])
        {'rouge1': 1.0}
    """
    sums = text_sums(names, predictions, references, **settings)
    signature = {"bleu_signature": bleu_signature(references)} if "bleu" in sums else {}
    return {**corpus_scores(sums), **signature}


def score_labels(
    names: Iterable[str], predictions: Sequence[int], labels: Sequence[int], classes: int
) -> Scores:
    """Compute those of the named metrics that compare classes.

    Args:
        names: keys of `METRICS`; those that need something else are passed over.
        predictions: one class number an example.
        labels: the true ones.
        classes: how many classes the task has.

    Returns:
        Name to value; empty where there are no examples.

    Example:
        >>> score_labels(["accuracy"], [0, 1, 1, 1], [0, 1, 0, 1], 2)
        {'accuracy': 0.75}
    """
    return {**corpus_scores(label_sums(names, predictions, labels, classes))}


def _sums(
    needs: str, names: Iterable[str], arguments: tuple[Any, ...], settings: Mapping[str, Any], examples: int
) -> Sums:
    wanted = [name for name in names if METRICS[name].needs == needs]
    if not examples:
        return {}
    found: Sums = {}
    # One call serves all the names of a function: ROUGE-1, 2 and L share theirs.
    for function, given in {METRICS[name].sums: METRICS[name].settings for name in wanted}.items():
        found |= function(*arguments, **{key: settings.get(key) for key in given})
    return {name: found[name] for name in wanted}
