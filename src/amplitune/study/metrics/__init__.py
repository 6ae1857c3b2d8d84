"""The metrics of a comparison, in one table."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from amplitune.study.examples import TaskKind
from amplitune.study.metrics.bertscore import bertscore
from amplitune.study.metrics.classification import accuracy, f1, mcc
from amplitune.study.metrics.perplexity import perplexity
from amplitune.study.metrics.text import bleu, rouge

Scores = dict[str, float | str]


@dataclass(frozen=True)
class Metric:
    """A number that says how good a model is on a task.

    Args:
        function: computes it, and perhaps others of the table, as a mapping from name to value.
        needs: what `function` is given: "texts" (predictions, references), "labels" (predictions, labels,
            number of classes), or "model" (model, tokenised rows, padding token).
        kind: the kind of task it scores.
        higher_is_better: whether a larger value is the better one.
        scale: lowest and highest value.
        settings: keyword arguments that `function` takes besides.
        extra: the optional dependency it needs.
    """

    function: Callable[..., Mapping[str, float | str]]
    needs: Literal["texts", "labels", "model"]
    kind: TaskKind
    higher_is_better: bool = True
    scale: tuple[float, float] = (0.0, 1.0)
    settings: tuple[str, ...] = ()
    extra: str | None = None


METRICS: dict[str, Metric] = {
    "bleu": Metric(bleu, "texts", "generation", scale=(0.0, 100.0)),
    "rouge1": Metric(rouge, "texts", "generation"),
    "rouge2": Metric(rouge, "texts", "generation"),
    "rougeL": Metric(rouge, "texts", "generation"),
    "bertscore_f1": Metric(
        bertscore,
        "texts",
        "generation",
        scale=(-1.0, 1.0),
        settings=("bertscore_model", "bertscore_num_layers"),
        extra="bertscore",
    ),
    "perplexity": Metric(
        perplexity, "model", "generation", higher_is_better=False, scale=(1.0, float("inf"))
    ),
    "accuracy": Metric(accuracy, "labels", "classification"),
    "f1": Metric(f1, "labels", "classification"),
    "mcc": Metric(mcc, "labels", "classification", scale=(-1.0, 1.0)),
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
    return _score("texts", names, (predictions, references), settings, len(predictions))


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
    return _score("labels", names, (predictions, labels, classes), {}, len(predictions))


def _score(
    needs: str, names: Iterable[str], arguments: tuple[Any, ...], settings: Mapping[str, Any], examples: int
) -> Scores:
    wanted = [name for name in names if METRICS[name].needs == needs]
    if not examples:
        return {}
    scores: Scores = {}
    # One call serves all the names of a function: ROUGE-1, 2 and L share theirs.
    for function, given in {METRICS[name].function: METRICS[name].settings for name in wanted}.items():
        for key, value in function(*arguments, **{key: settings.get(key) for key in given}).items():
            if key in wanted or key not in METRICS:
                scores[key] = value
    return scores
