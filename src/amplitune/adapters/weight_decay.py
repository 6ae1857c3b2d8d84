"""Optimizer groups by weight decay: matrices decay, biases and normalisation weights do not."""

from collections.abc import Iterable
from typing import Any

from torch import nn


def weight_decay_groups(parameters: Iterable[nn.Parameter]) -> list[dict[str, Any]]:
    """Group parameters for a torch optimizer, whose own weight decay then applies to matrices alone.

    Args:
        parameters: what is trained.

    Returns:
        The group of matrices, then that of vectors and scalars; one that would be empty is left out.

    Example:
        >>> layer = nn.Linear(2, 3)
        >>> groups = weight_decay_groups(layer.parameters())
        >>> [(len(group["params"]), group.get("weight_decay")) for group in groups]
        [(1, None), (1, 0.0)]
    """
    given = list(parameters)
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in given if parameter.ndim >= 2]},
        {"params": [parameter for parameter in given if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
