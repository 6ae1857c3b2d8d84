"""Optimizer groups by weight decay: matrices decay, biases and normalisation weights do not."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from amplitune.errors import ConfigError


def weight_decay_groups(parameters: Iterable[nn.Parameter]) -> list[dict[str, Any]]:
    """Group parameters for a torch optimizer, whose own weight decay then applies to matrices alone.

    Args:
        parameters: what is trained.

    Returns:
        The group of matrices, then that of vectors and scalars; one that would be empty is left out.

    Raises:
        ConfigError: FSDP of version 1 has flattened the parameters, so that matrices look like vectors.

    Example:
        >>> layer = nn.Linear(2, 3)
        >>> groups = weight_decay_groups(layer.parameters())
        >>> [(len(group["params"]), group.get("weight_decay")) for group in groups]
        [(1, None), (1, 0.0)]
    """
    given = list(parameters)
    if any(getattr(parameter, "_fsdp_flattened", False) for parameter in given):
        raise ConfigError(
            "`parameters` must have the shapes that the model gives them, but FSDP of version 1 has "
            "flattened them, so that matrices, which decay, look like vectors. Use version 2 "
            "(fsdp_version: 2), or create the optimizer before FSDP wraps the model."
        )
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in given if _dimensions(parameter) >= 2]},
        {"params": [parameter for parameter in given if _dimensions(parameter) < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _dimensions(parameter: nn.Parameter) -> int:
    # DeepSpeed's ZeRO-3 leaves an empty vector where it has split a parameter.
    return len(getattr(parameter, "ds_shape", parameter.shape))
