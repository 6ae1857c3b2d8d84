"""The precision of a circuit: single at least, whatever the dtype of the model around it."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def compute_dtype(x: Tensor, angles: Tensor) -> torch.dtype:
    """Choose the dtype of amplitudes, rotations and results: float64 if an argument is, otherwise float32.

    Args:
        x: real input, any float dtype.
        angles: real angles, or unitaries made from them, any dtype.

    Returns:
        torch.float64 or torch.float32.
    """
    double = x.dtype == torch.float64 or angles.dtype in (torch.float64, torch.complex128)
    return torch.float64 if double else torch.float32


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Switch autocast off, which would round states and readouts to half precision inside matrix products.

    Args:
        device: where the products run.

    Returns:
        A context manager.
    """
    # Entering the context costs more than asking, and a single token's evaluation enters it several times.
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
