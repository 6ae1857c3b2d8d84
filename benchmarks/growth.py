"""Measures how an adapter's own cost grows with width, depth and tokens: exponents of fitted power laws."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.command import DTYPES, keep, parser_of, prepare, record, table
from benchmarks.kernels import used
from benchmarks.ratios import digits, fit_exponent
from benchmarks.timing import Case, clock_of, interleave

from benchmarks import adapted

NAME = "growth"
HEADER = ("grows with", "from", "to", "times", "kernel", "cost, times", "exponent", "LoRA's exponent")

#: The sizes of each sweep, and the sizes of all that the sweep does not change.
SWEEPS = {
    "d": (512, 1024, 2048, 4096, 8192),
    "depth": (1, 2, 4, 8),
    "tokens": (512, 1024, 2048, 4096, 8192),
}
FIXED = {"d": 2048, "depth": 1, "tokens": 2048}


def measure(
    quantity: str,
    sizes: Sequence[int],
    rounds: int,
    *,
    fixed: dict[str, int] | None = None,
    dtype: str = "float32",
    kernel: str | None = None,
    device: str = "cpu",
    seed: int = 0,
) -> dict[str, Any]:
    """Time the adapter at each size in interleaved rounds and fit the exponent.

        own cost = (identity layer with adapter) - (identity layer),   forward and backward
        own cost ~ size**exponent

    Args:
        quantity: what grows, "d" (d_in and d_out), "depth" or "tokens".
        sizes: at least three.
        rounds: interleaved rounds.
        fixed: the sizes of what does not grow; by default FIXED.
        dtype: of the input; the adapter is float32 or wider.
        kernel: name of a kernel; None for the rule.
        device: "cpu" or "cuda".
        seed: of the orders.

    Returns:
        The exponent with its standard error, the ratio of the last cost to the first, and the median costs;
        also the exponent of a LoRA of rank 8 at the same sizes, which knows no depth. A median that noise
        makes zero or negative leaves the exponents out and says so.
    """
    cases: dict[str, Case] = {}
    name = ""
    for size in sizes:
        at = (FIXED if fixed is None else fixed) | {quantity: size}
        base = adapted.base_layer(at["d"], DTYPES[dtype], device, identity=True)
        x, grad = adapted.inputs(at["tokens"], at["d"], DTYPES[dtype], device)
        qaa = adapted.with_qaa(base, {"depth": at["depth"]})
        name = used(adapted.circuit_of(qaa), x, kernel)
        cases[f"{size}"] = adapted.training_pass(qaa, x, grad, kernel)
        cases[f"{size} lora"] = adapted.training_pass(adapted.with_lora(base), x, grad)
        cases[f"{size} base"] = adapted.training_pass(base, x, grad)
    seconds = interleave(cases, rounds, clock_of(device), seed=seed)
    own = {
        suffix: [
            median(a - b for a, b in zip(seconds[f"{size}{suffix}"], seconds[f"{size} base"], strict=True))
            for size in sizes
        ]
        for suffix in ("", " lora")
    }
    costs, peers = own.values()
    row = {"quantity": quantity, "sizes": list(sizes), "dtype": dtype, "kernel": name}
    row |= {"median_costs": costs, "median_costs_lora": peers}
    if min(*costs, *peers) <= 0:
        return row | {"skipped": "a cost is lost in the noise"}
    exponent, peer = fit_exponent(sizes, costs), fit_exponent(sizes, peers)
    return row | {
        "ratio_of_sizes": sizes[-1] / sizes[0],
        "ratio_of_costs": costs[-1] / costs[0],
        "exponent": exponent.value,
        "standard_error": exponent.standard_error,
        "exponent_lora": peer.value,
        "standard_error_lora": peer.standard_error,
    }


def line(row: dict[str, Any]) -> list[object]:
    """Lay out a row of `measure` under HEADER."""
    ends = [row["quantity"], row["sizes"][0], row["sizes"][-1]]
    if "skipped" in row:
        return [*ends, "", row["kernel"], "", row["skipped"], ""]
    exponents = [f"{row['exponent' + of]:.2f} +- {row['standard_error' + of]:.2f}" for of in ("", "_lora")]
    return [*ends, digits(row["ratio_of_sizes"]), row["kernel"], digits(row["ratio_of_costs"]), *exponents]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Args:
        argv: the command line's arguments; by default those of the process.
    """
    parser = parser_of(NAME, __doc__, rounds=15)
    for quantity, sizes in SWEEPS.items():
        parser.add_argument(f"--{quantity}", type=int, nargs="+", default=sizes, help=f"sizes of {quantity}")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of the input")
    parser.add_argument("--kernel", help="name of a kernel; unset, the rule's choice")
    arguments = parser.parse_args(argv)
    path = prepare(parser, arguments, f"{NAME}-cpu")
    for quantity in SWEEPS:
        if len(getattr(arguments, quantity)) < 3:
            parser.error(f"--{quantity} must have at least 3 sizes, for a line with an error. Give more.")
    result = record(NAME, arguments)
    rows = [
        measure(
            quantity,
            getattr(arguments, quantity),
            arguments.rounds,
            dtype=arguments.dtype,
            kernel=arguments.kernel,
            seed=arguments.seed,
        )
        for quantity in SWEEPS
    ]
    keep(path, result | {"rows": rows})
    print(table(HEADER, [line(row) for row in rows]))


if __name__ == "__main__":
    main()
