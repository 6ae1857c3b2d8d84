"""The one rule that chooses a kernel for a circuit on a device, and the way to override it."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from amplitune.errors import ConfigError, check_choice
from amplitune.quantum.kernels import native, reference, triton_backend
from amplitune.quantum.kernels.up_projection import add_up_projection
from amplitune.quantum.program import Program

Gradients = tuple[Tensor | None, Tensor, Tensor]


@dataclass(frozen=True)
class Kernel:
    """A way to run a program.

    Args:
        name: its name.
        unsupported: maps a program and its input to the reason why it cannot run them, or None.
        forward: maps x (tokens, features), parameters and program to z (tokens, circuits * m).
        backward: maps dL/dz, x, parameters, program and whether dL/dx is wanted to dL/dx, dL/dparameters
            and z.
        add_up_projection: maps a base layer's output, z, weight, bias and scaling to their sum.
    """

    name: str
    unsupported: Callable[[Program, Tensor], str | None]
    forward: Callable[[Tensor, Tensor, Program], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor, Program, bool], Gradients]
    add_up_projection: Callable[[Tensor, Tensor, Tensor, Tensor | None, float], Tensor] = add_up_projection


#: In the order of preference. "torch" runs everything everywhere; the others are tested against it.
KERNELS = {
    "triton": Kernel(
        "triton",
        triton_backend.unsupported,
        triton_backend.forward,
        triton_backend.backward,
        triton_backend.add_up_projection,
    ),
    "native": Kernel("native", native.unsupported, native.forward, native.backward),
    "torch": Kernel("torch", lambda program, x: None, reference.forward, reference.backward),
}

VARIABLE = "AMPLITUNE_KERNEL"

#: The kernel that each open block asks for, None outside of blocks and where it is left to the rule. Not a
#: ContextVar: autograd runs the backward pass of a GPU in a thread of its own.
overrides: list[str | None] = [None]
_log = logging.getLogger("amplitune")


@contextmanager
def kernel(name: str | None) -> Iterator[None]:
    """Use one kernel inside a with-block, in all threads, whatever the rule would choose.

    The environment variable AMPLITUNE_KERNEL does the same for a whole process. Blocks of several threads
    must not overlap.

    Args:
        name: "torch", "native" or "triton"; None for the rule.

    Raises:
        ConfigError: the name is unknown; or, when a circuit runs, the kernel cannot run it.

    Example:
        >>> import torch
        >>> from amplitune.quantum import Circuit, expectation
        >>> circuit = Circuit(2)
        >>> with kernel("torch"):
        ...     expectation(torch.tensor([0.0, 3.0, 4.0]), torch.zeros(circuit.angle_shape()), circuit)
        tensor([ 0.2800, -1.0000])
    """
    if name is not None:
        check_choice("kernel", name, KERNELS)
    overrides.append(name)
    try:
        yield
    finally:
        overrides.pop()


def choose(program: Program, x: Tensor) -> Kernel:
    """Choose the kernel: the one asked for, otherwise the first of KERNELS that can run the program.

    Args:
        program: the program.
        x: its input, shape (tokens, features).

    Returns:
        The kernel.

    Raises:
        ConfigError: a kernel was asked for that is unknown or cannot run the program.
    """
    name = overrides[-1] or os.environ.get(VARIABLE)
    if name:
        check_choice(VARIABLE, name, KERNELS)
        reason = KERNELS[name].unsupported(program, x)
        if reason is not None:
            raise ConfigError(
                f"`kernel` must be able to run the circuit, but {name!r} is not: {reason}. "
                "Use 'torch', or leave the choice to the rule."
            )
        return KERNELS[name]
    key = id(program), x.device, x.dtype
    known = _choices.get(key)
    if known is None:
        if len(_choices) >= _MOST_CHOICES:
            _choices.clear()
        known = _choices[key] = program, *_first(program, x)
    _report(known[1].name, x.device.type, known[2])
    return known[1]


_MOST_CHOICES = 256

#: What the rule chose and why not what stands before it, for a program on inputs of a device and a dtype. By
#: identity, with the program itself so that the identity stays its own: a single token feels the rule's time.
_choices: dict[tuple[int, torch.device, torch.dtype], tuple[Program, Kernel, tuple[str, ...]]] = {}


def _first(program: Program, x: Tensor) -> tuple[Kernel, tuple[str, ...]]:
    """The first kernel that can run a program, and why those before it cannot."""
    reasons: list[str] = []
    for candidate in KERNELS.values():
        reason = candidate.unsupported(program, x)
        if reason is None:
            return candidate, tuple(reasons)
        reasons.append(f"{candidate.name}: {reason}")
    raise AssertionError("the torch kernel runs everything")


@cache
def _report(name: str, device: str, reasons: tuple[str, ...]) -> None:
    """Log a choice, once for each."""
    _log.info(
        "circuits on %s run with the %s kernel (%s)", device, name, "; ".join(reasons) or "first choice"
    )
