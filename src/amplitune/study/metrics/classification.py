"""Accuracy, F1 and Matthews correlation of predicted classes."""

from collections.abc import Sequence

import numpy as np

from amplitune.study.metrics.sums import Array


def accuracy_sums(predictions: Sequence[int], labels: Sequence[int], classes: int) -> dict[str, Array]:
    """Whether each class is right: accuracy is the mean.

    Args:
        predictions: one class number an example.
        labels: the true ones.
        classes: how many classes the task has.

    Returns:
        `accuracy` (shape (examples, 1), 0 or 1).

    Example:
        >>> accuracy_sums([0, 1, 1], [0, 1, 0], 2)["accuracy"].ravel().tolist()
        [1.0, 1.0, 0.0]
    """
    return {"accuracy": (np.asarray(predictions) == np.asarray(labels)).astype(float)[:, None]}


def class_sums(predictions: Sequence[int], labels: Sequence[int], classes: int) -> dict[str, Array]:
    """Each example's part in the counts of the confusion matrix that F1 and Matthews correlation are made of.

    Args:
        predictions: one class number an example.
        labels: the true ones.
        classes: how many classes the task has, C.

    Returns:
        `f1` and `mcc`, both (shape (examples, 3 C)): for each class whether it is predicted and right,
        whether it is predicted, whether it is the label.

    Example:
        >>> class_sums([1], [0], 2)["f1"].tolist()
        [[0.0, 0.0, 0.0, 1.0, 1.0, 0.0]]
    """
    predicted, present = np.eye(classes)[list(predictions)], np.eye(classes)[list(labels)]
    counts = np.concatenate([predicted * present, predicted, present], axis=1)
    return {"f1": counts, "mcc": counts}


def f1_from_sums(totals: Array, examples: int) -> Array:
    """F1: of the second class where there are two, the unweighted mean over all classes where there are more.

    `F1_k = 2 right_k / (predicted_k + present_k)`; a class that is neither present nor predicted counts as 0.

    Args:
        totals: what `class_sums` gave, summed over examples (shape (..., 3 C)).
        examples: how many were summed.

    Returns:
        0 to 1 (shape (...)).

    Example:
        >>> float(f1_from_sums(class_sums([0, 1, 1, 1], [0, 1, 0, 1], 2)["f1"].sum(0), 4))
        0.8
    """
    right, predicted, present = _thirds(totals)
    either = predicted + present
    scores = np.divide(2 * right, either, out=np.zeros_like(either), where=either > 0)
    # np.mean of a view may return a plain float, which is no array.
    return np.asarray(scores[..., 1] if scores.shape[-1] == 2 else scores.mean(axis=-1))


def mcc_from_sums(totals: Array, examples: int) -> Array:
    """Matthews correlation coefficient, Gorodkin's form where there are more than two classes.

    `(n sum_k right_k - sum_k predicted_k present_k)
    / sqrt((n^2 - sum_k predicted_k^2) (n^2 - sum_k present_k^2))`

    Args:
        totals: what `class_sums` gave, summed over examples (shape (..., 3 C)).
        examples: how many were summed, n.

    Returns:
        -1 to 1 (shape (...)); 0 where all predictions, or all labels, are of one class.

    Source:
        Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient", 2004.

    Example:
        >>> float(mcc_from_sums(class_sums([0, 1, 0, 1], [0, 1, 0, 1], 2)["mcc"].sum(0), 4))
        1.0
    """
    right, predicted, present = _thirds(totals)
    covariance = examples * right.sum(axis=-1) - (predicted * present).sum(axis=-1)
    spread = (examples**2 - (predicted**2).sum(axis=-1)) * (examples**2 - (present**2).sum(axis=-1))
    spread = np.asarray(np.sqrt(spread))
    return np.divide(covariance, spread, out=np.zeros_like(spread), where=spread > 0)


def _thirds(totals: Array) -> tuple[Array, Array, Array]:
    classes = totals.shape[-1] // 3
    return totals[..., :classes], totals[..., classes : 2 * classes], totals[..., 2 * classes :]
