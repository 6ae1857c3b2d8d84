"""Measures the circuit engine against other simulators, after checking that values and gradients agree."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import torch
from benchmarks.command import DTYPES, keep, parser_of, prepare, record, table
from benchmarks.kernels import used
from benchmarks.ratios import ratio
from benchmarks.rivals import RIVALS, Rival, Run
from benchmarks.timing import Case, clock_of, interleave
from torch import Tensor

from amplitune.quantum import Circuit, expectation, qubits_for
from amplitune.quantum.kernels.dispatch import kernel as using

NAME = "simulators"
HEADER = (
    "simulator",
    "d",
    "batch",
    "kernel",
    "its time / ours",
    "per token, ours at its batch",
    "error",
    "note",
)

#: Largest error allowed before anything is timed, relative to the largest magnitude; in float64 with room for
#: lightning.qubit, whose adjoint method hands values to torch in single precision.
TOLERANCE = {"float32": 1e-4, "float64": 1e-6}


def engine(n_qubits: int) -> Run:
    """Give the circuit engine in the form of a rival."""
    circuit = Circuit(n_qubits)
    return lambda x, angles: expectation(x, angles.reshape(circuit.angle_shape()), circuit)


def with_gradients(run: Run, x: Tensor, angles: Tensor, grad: Tensor, wants_dx: bool) -> tuple[Tensor, ...]:
    """Run forward and backward.

    Args:
        run: the simulator.
        x: shape (tokens, features).
        angles: shape (n_qubits,).
        grad: dL/dz, shape (tokens, n_qubits).
        wants_dx: whether dL/dx is taken.

    Returns:
        z, dL/dangles and, if wanted, dL/dx.
    """
    angles = angles.detach().requires_grad_()
    x = x.detach().requires_grad_(wants_dx)
    z = run(x, angles)
    wanted = (angles, x) if wants_dx else (angles,)
    return z.detach(), *torch.autograd.grad(z, wanted, grad.to(z.dtype))


def disagreement(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> float:
    """Find the largest difference between values and gradients of two simulators.

    Args:
        found: of one.
        expected: of the other.

    Returns:
        Largest over the tensors of max |difference| / max |expected|; NaN if any is NaN.
    """
    errors = [
        (one.double() - other.double()).abs().max() / other.double().abs().max()
        for one, other in zip(found, expected, strict=True)
    ]
    return float(torch.stack(errors).max())


def measure(
    rival: Rival,
    width: int,
    rounds: int,
    *,
    tokens: int = 2048,
    dtype: str = "float32",
    kernel: str | None = None,
    device: str = "cpu",
    batches: Sequence[int] | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Compare with one simulator at one width: values and gradients first, then the times.

    Args:
        rival: the simulator.
        width: number of features.
        rounds: interleaved rounds.
        tokens: rows at which the engine's own time per token is taken.
        dtype: "float32" or "float64".
        kernel: the engine's kernel; None for the rule.
        device: "cpu" or "cuda".
        batches: rows at which both are measured; by default the rival's.
        seed: of inputs and orders.

    Returns:
        A row for each batch. `same_batch` compares the times at the rival's batch, `per_token` the rival's
        time per token at its batch with the engine's at `tokens`. A rival that is absent or does not run on
        the device gives one row that says so; one that disagrees gives a row with its error and no ratio.
    """
    common = {"simulator": rival.name, "d": width, "device": device, "note": rival.note}
    if not rival.installed:
        return [common | {"skipped": f"not installed: {rival.install}"}]
    if device == "cuda" and not rival.on_cuda:
        return [common | {"skipped": "not measured on CUDA"}]
    n_qubits = qubits_for(width)
    theirs, ours = rival.make(n_qubits, dtype == "float64"), engine(n_qubits)
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for batch in rival.batches if batches is None else batches:
        drawn = [
            torch.randn(shape, generator=generator, dtype=DTYPES[dtype]).to(device)
            for shape in ((batch, width), (n_qubits,), (batch, n_qubits), (tokens, width), (tokens, n_qubits))
        ]
        x, angles, grad, many, many_grad = drawn

        def theirs_at_batch(
            x: Tensor = x, angles: Tensor = angles, grad: Tensor = grad
        ) -> tuple[Tensor, ...]:
            return with_gradients(theirs, x, angles, grad, rival.gives_dx)

        def ours_at_batch(x: Tensor = x, angles: Tensor = angles, grad: Tensor = grad) -> tuple[Tensor, ...]:
            return with_gradients(ours, x, angles, grad, rival.gives_dx)

        def ours_at_tokens(
            x: Tensor = many, angles: Tensor = angles, grad: Tensor = many_grad
        ) -> tuple[Tensor, ...]:
            return with_gradients(ours, x, angles, grad, rival.gives_dx)

        with using(kernel):
            error = disagreement(ours_at_batch(), theirs_at_batch())
            row: dict[str, Any] = common | {
                "batch": batch,
                "tokens": tokens,
                "dtype": dtype,
                "kernel": used(Circuit(n_qubits), x, kernel),
                "error": error if isfinite(error) else None,
            }
            # Also refuses NaN.
            if not error <= TOLERANCE[dtype]:
                rows.append(row | {"skipped": f"differs by {error:.1e}: nothing to compare"})
                continue
            cases: dict[str, Case] = {
                "theirs": theirs_at_batch,
                "ours": ours_at_batch,
                "ours at tokens": ours_at_tokens,
            }
            seconds = interleave(cases, rounds, clock_of(device), seed=seed)
        each = [value / batch for value in seconds["theirs"]]
        ours_each = [value / tokens for value in seconds["ours at tokens"]]
        row["ratios"] = {
            "same_batch": ratio(seconds["theirs"], seconds["ours"], seed=seed),
            "per_token": ratio(each, ours_each, seed=seed),
        }
        rows.append(row | {"seconds": seconds})
    return rows


def line(row: dict[str, Any]) -> list[object]:
    """Lay out a row of `measure` under HEADER."""
    if "skipped" in row:
        return [row["simulator"], row["d"], row.get("batch", ""), "", "", "", "", row["skipped"]]
    ratios = row["ratios"]
    sizes = [row["simulator"], row["d"], row["batch"], row["kernel"]]
    return [*sizes, ratios["same_batch"], ratios["per_token"], f"{row['error']:.0e}", row["note"]]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Args:
        argv: the command line's arguments; by default those of the process.
    """
    parser = parser_of(NAME, __doc__, rounds=7)
    parser.add_argument("--d", type=int, nargs="+", default=[256, 2048], help="numbers of features")
    parser.add_argument("--tokens", type=int, default=2048, help="rows for the engine's own time per token")
    parser.add_argument("--dtype", choices=TOLERANCE, default="float32", help="of input and angles")
    parser.add_argument("--batches", type=int, nargs="+", help="rows for the others; unset, what suits each")
    parser.add_argument("--kernel", help="the engine's kernel; unset, the rule's choice")
    arguments = parser.parse_args(argv)
    path = prepare(parser, arguments, f"{NAME}-cpu")
    result = record(NAME, arguments)
    rows: list[dict[str, Any]] = []
    for width in arguments.d:
        for rival in RIVALS:
            rows += measure(
                rival,
                width,
                arguments.rounds,
                tokens=arguments.tokens,
                dtype=arguments.dtype,
                kernel=arguments.kernel,
                batches=arguments.batches,
                seed=arguments.seed,
            )
    keep(path, result | {"rows": rows})
    print(table(HEADER, [line(row) for row in rows]))


if __name__ == "__main__":
    main()
