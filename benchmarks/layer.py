"""Measures an adapter's own cost on one linear layer, forward and backward, as a ratio to peft's LoRA r=8."""

from collections.abc import Sequence
from typing import Any

import torch
from benchmarks.command import DTYPES, keep, parser_of, prepare, record, table
from benchmarks.kernels import used
from benchmarks.ratios import ratio
from benchmarks.timing import Case, clock_of, interleave, replayed

from benchmarks import adapted

NAME = "layer"
HEADER = (
    "d",
    "tokens",
    "dtype",
    "depth",
    "kernel",
    "timed",
    "own cost / LoRA's",
    "same, identity base",
    "(base + QAA) / base",
    "(base + LoRA) / base",
)


def measure(
    width: int,
    tokens: int,
    dtype: str,
    rounds: int,
    kernels: Sequence[str | None] = (None,),
    settings: dict[str, Any] | None = None,
    device: str = "cpu",
    graph: bool = False,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Time a layer bare, with LoRA and with QAA on each kernel, in interleaved rounds.

        own cost = (layer with adapter) - (layer alone),   forward and backward, without optimizer

    The same is measured over a base layer that hands its input through. That number is the less noisy one: at
    large widths the real base layer takes many times the adapter's time, and brings its own noise.

    Args:
        width: d_in and d_out.
        tokens: number of rows.
        dtype: of the base layer and the input; the adapters stay float32 or wider.
        rounds: interleaved rounds.
        kernels: names of kernels; None for the rule.
        settings: fields of QAAConfig that differ from the defaults.
        device: "cpu" or "cuda".
        graph: time the replay of a CUDA graph, which leaves out the host's share.
        seed: of the orders.

    Returns:
        For each kernel the sizes, the ratios, and the seconds of each case in each round.
    """
    x, grad = adapted.inputs(tokens, width, DTYPES[dtype], device)
    names: list[str] = []
    circuit = None
    cases: dict[str, Case] = {}
    for base_name in ("linear", "identity"):
        base = adapted.base_layer(width, DTYPES[dtype], device, identity=base_name == "identity")
        lora, qaa = adapted.with_lora(base), adapted.with_qaa(base, settings)
        circuit = adapted.circuit_of(qaa)
        names = [used(circuit, x, kernel) for kernel in kernels]
        cases[base_name] = adapted.training_pass(base, x, grad)
        cases[f"{base_name}+lora"] = adapted.training_pass(lora, x, grad)
        for name in names:
            cases[f"{base_name}+qaa[{name}]"] = adapted.training_pass(qaa, x, grad, name)
    if graph:
        cases = {name: replayed(case) for name, case in cases.items()}
    seconds = interleave(cases, rounds, clock_of(device), seed=seed)
    return [
        {
            "d": width,
            "tokens": tokens,
            "dtype": dtype,
            "circuit": circuit.to_dict() if circuit is not None else None,
            "depth": circuit.ansatz.depth if circuit is not None else None,
            "kernel": name,
            "timed": "graph" if graph else "eager",
            "ratios": {
                "own_cost_over_lora": ratio(
                    seconds[f"linear+qaa[{name}]"], seconds["linear+lora"], seconds["linear"], seed
                ),
                "own_cost_over_lora_identity_base": ratio(
                    seconds[f"identity+qaa[{name}]"], seconds["identity+lora"], seconds["identity"], seed
                ),
                "qaa_over_base": ratio(seconds[f"linear+qaa[{name}]"], seconds["linear"], seed=seed),
                "lora_over_base": ratio(seconds["linear+lora"], seconds["linear"], seed=seed),
            },
            "seconds": {
                case: [float(f"{value:.5g}") for value in values]
                for case, values in seconds.items()
                if "[" not in case or case.endswith(f"[{name}]")
            },
        }
        for name in names
    ]


def line(row: dict[str, Any]) -> list[object]:
    """Lay out a row of `measure` under HEADER."""
    sizes = [row[key] for key in ("d", "tokens", "dtype", "depth", "kernel", "timed")]
    return [*sizes, *row["ratios"].values()]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Args:
        argv: the command line's arguments; by default those of the process.
    """
    parser = parser_of(NAME, __doc__, rounds=40)
    parser.add_argument("--d", type=int, nargs="+", default=[768, 2048, 4096], help="widths, d_in = d_out")
    parser.add_argument("--tokens", type=int, default=2048, help="rows of the input (default %(default)s)")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of base layer and input")
    parser.add_argument("--depth", type=int, default=1, help="layers of the ansatz (default %(default)s)")
    parser.add_argument("--readout", default="Z", help="the readout (default %(default)s)")
    parser.add_argument(
        "--kernel", nargs="+", default=[None], help="kernels to compare; unset, the rule's choice"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments = parser.parse_args(argv)
    path = prepare(parser, arguments, f"{NAME}-{arguments.device}")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device must be 'cpu' without a CUDA device, but is 'cuda'. Leave it unset.")
    result = record(NAME, arguments)
    settings = {"depth": arguments.depth, "readout": arguments.readout}
    rows: list[dict[str, Any]] = []
    for width in arguments.d:
        rows += measure(
            width,
            arguments.tokens,
            arguments.dtype,
            arguments.rounds,
            arguments.kernel,
            settings,
            arguments.device,
            seed=arguments.seed,
        )
    keep(path, result | {"rows": rows})
    print(table(HEADER, [line(row) for row in rows]))


if __name__ == "__main__":
    main()
