"""Memory bandwidth that the forward kernel achieves, as a share of what a copy of as many bytes achieves."""

from typing import Any

import torch
from benchmarks.command import DTYPES
from benchmarks.ratios import digits, ratio
from benchmarks.timing import clock_of, interleave

from amplitune.quantum import Ansatz, Circuit, qubits_for
from amplitune.quantum.kernels.dispatch import choose
from amplitune.quantum.kernels.dispatch import kernel as using
from amplitune.quantum.operators import operator_parameters
from amplitune.quantum.program import program_of

HEADER = ("d", "tokens", "dtype", "depth", "kernel", "bandwidth / copy's", "bytes")


def measure(
    width: int,
    megabytes: int,
    dtype: str,
    rounds: int,
    *,
    depth: int = 1,
    kernel: str | None = None,
    device: str = "cuda",
    seed: int = 0,
) -> dict[str, Any]:
    """Time the forward kernel on an input and a copy that moves as many bytes, in interleaved rounds.

        bytes moved = bytes of x read + bytes of z written;   the copy reads one half and writes the other

    Args:
        width: number of features.
        megabytes: size of x in units of 2**20 bytes; several times the cache, or the cache is measured.
        dtype: of x.
        rounds: interleaved rounds.
        depth: layers of the ansatz.
        kernel: name of a kernel; None for the rule.
        device: "cpu" or "cuda".
        seed: of the orders.

    Returns:
        The ratio of bandwidths, which is the inverse ratio of times, and both bandwidths in bytes a second.
    """
    item = DTYPES[dtype].itemsize
    tokens = max(1, megabytes * 2**20 // (width * item))
    n_qubits = qubits_for(width)
    circuit = Circuit(n_qubits, Ansatz(depth=depth))
    x = torch.randn(tokens, width, dtype=DTYPES[dtype], device=device)
    angles = torch.randn(circuit.angle_shape(), device=device)
    program, parameters = program_of(circuit), operator_parameters(x, angles, circuit)
    with using(kernel):
        chosen = choose(program, x)
    z = chosen.forward(x, parameters, program)
    moved = x.numel() * item + z.numel() * z.element_size()
    source = torch.randn(moved // 2 // item, dtype=DTYPES[dtype], device=device)
    target = torch.empty_like(source)
    with torch.no_grad():
        seconds = interleave(
            {
                "kernel": lambda: chosen.forward(x, parameters, program),
                "copy": lambda: target.copy_(source),
            },
            rounds,
            clock_of(device),
            seed=seed,
        )
    return {
        "d": width,
        "tokens": tokens,
        "dtype": dtype,
        "depth": depth,
        "kernel": chosen.name,
        "bytes": moved,
        "ratios": {"bandwidth_over_copy": ratio(seconds["copy"], seconds["kernel"], seed=seed)},
        "bytes_per_second": {name: moved / sorted(each)[len(each) // 2] for name, each in seconds.items()},
        "seconds": seconds,
    }


def line(row: dict[str, Any]) -> list[object]:
    """Lay out a row of `measure` under HEADER."""
    sizes = [row[key] for key in ("d", "tokens", "dtype", "depth", "kernel")]
    return [*sizes, row["ratios"]["bandwidth_over_copy"], digits(row["bytes"])]
