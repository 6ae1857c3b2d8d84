"""Accuracy, F1 and Matthews correlation of predicted classes."""

from collections.abc import Sequence


def accuracy(predictions: Sequence[int], labels: Sequence[int], classes: int) -> dict[str, float]:
    """Share of examples whose class is right.

    Args:
        predictions: one class number an example.
        labels: the true ones.
        classes: how many classes the task has.

    Returns:
        `accuracy` (0 to 1).

    Example:
        >>> accuracy([0, 1, 1, 1], [0, 1, 0, 1], 2)
        {'accuracy': 0.75}
    """
    from sklearn.metrics import accuracy_score

    return {"accuracy": float(accuracy_score(labels, predictions))}


def f1(predictions: Sequence[int], labels: Sequence[int], classes: int) -> dict[str, float]:
    """F1: of the second class where there are two, the unweighted mean over all classes where there are more.

    A class that is neither present nor predicted counts as 0.

    Args:
        predictions: one class number an example.
        labels: the true ones.
        classes: how many classes the task has.

    Returns:
        `f1` (0 to 1).

    Example:
        >>> f1([0, 1, 1, 1], [0, 1, 0, 1], 2)
        {'f1': 0.8}
    """
    from sklearn.metrics import f1_score

    score = f1_score(
        labels,
        predictions,
        labels=[1] if classes == 2 else list(range(classes)),
        average="macro",
        zero_division=0.0,
    )
    return {"f1": float(score)}


def mcc(predictions: Sequence[int], labels: Sequence[int], classes: int) -> dict[str, float]:
    """Matthews correlation coefficient, Gorodkin's form where there are more than two classes.

    Args:
        predictions: one class number an example.
        labels: the true ones.
        classes: how many classes the task has.

    Returns:
        `mcc` (-1 to 1); 0 where all predictions, or all labels, are of one class.

    Example:
        >>> mcc([0, 1, 0, 1], [0, 1, 0, 1], 2)
        {'mcc': 1.0}
    """
    from sklearn.metrics import matthews_corrcoef

    if len({*labels, *predictions}) < 2:
        # scikit-learn also says 0, after a warning.
        return {"mcc": 0.0}
    return {"mcc": float(matthews_corrcoef(labels, predictions))}
