"""The precision of a circuit: single at least, whatever the dtype of the model around it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

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


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Switch off what would round states and readouts inside matrix products: autocast, TF32 and bfloat16.

    Args:
        device: where the products run.

    Yields:
        Nothing.
    """
    # A tracer cannot follow the setting; compiled code runs under the one it is called with.
    chosen = "highest" if torch.compiler.is_compiling() else torch.get_float32_matmul_precision()
    # Changing a setting costs more than asking for it, and a single token's evaluation asks several times.
    if chosen != "highest":
        torch.set_float32_matmul_precision("highest")
    try:
        with without_autocast(device):
            yield
    finally:
        if chosen != "highest":
            torch.set_float32_matmul_precision(chosen)


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
