"""Runs every benchmark on a CUDA device: layer, bandwidth, memory, growth, simulators, whole models."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from types import ModuleType
from typing import Any

import torch
from benchmarks.command import keep, parser_of, prepare, record, table
from benchmarks.rivals import RIVALS

from benchmarks import bandwidth, growth, layer, memory, models, simulators

NAME = "gpu"

Row = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Args:
        widths: d_in and d_out of single layers.
        tokens: rows of a small and of a large batch.
        rounds: interleaved rounds.
        megabytes: the input for the bandwidth; several times the largest cache (an H200's has 60 MB).
        simulator_widths: numbers of features for other simulators.
        sweeps: of growth; the batch is large, so that the device and not the host is measured.
        growth_fixed: sizes that a sweep does not change.
        shapes: models by name, as fields of LlamaConfig.
        batch: sequences in a training step.
        length: tokens in a sequence.
    """

    widths: tuple[int, ...] = (768, 2048, 4096)
    tokens: tuple[int, ...] = (2048, 16384)
    rounds: int = 25
    megabytes: int = 1024
    simulator_widths: tuple[int, ...] = (256, 2048)
    sweeps: tuple[tuple[str, tuple[int, ...]], ...] = (
        ("d", (512, 1024, 2048, 4096, 8192)),
        ("depth", (1, 2, 4, 8)),
        ("tokens", (8192, 16384, 32768, 65536, 131072)),
    )
    growth_fixed: tuple[tuple[str, int], ...] = (("d", 2048), ("depth", 1), ("tokens", 32768))
    shapes: tuple[tuple[str, dict[str, Any]], ...] = tuple(models.SHAPES.items())
    batch: int = 4
    length: int = 512


Measurement = Callable[[], Row | list[Row]]


def measurements(
    sizes: Sizes, device: str, kernel: str | None, seed: int
) -> Iterator[tuple[str, Measurement]]:
    """List what is measured, what matters most first, because a time limit may cut the end off.

    Args:
        sizes: how much.
        device: "cuda"; "cpu" only to test this file.
        kernel: name of a kernel; None for the rule.
        seed: of weights, inputs and orders.

    Yields:
        The name of the part, and a function that measures one group of its rows.
    """
    rounds = sizes.rounds
    common: dict[str, Any] = {"kernel": kernel, "device": device, "seed": seed}
    # The host's share cannot be taken out on a CPU.
    graphs = (False, True) if device == "cuda" else (False,)
    dtypes = ("float32", "bfloat16")
    for tokens, dtype, width, graph in product(sizes.tokens, dtypes, sizes.widths, graphs):
        settings: dict[str, Any] = {"kernels": [kernel], "device": device, "graph": graph, "seed": seed}
        yield "layer", partial(layer.measure, width, tokens, dtype, rounds, **settings)
    for dtype, width in product(dtypes, sizes.widths):
        yield "bandwidth", partial(bandwidth.measure, width, sizes.megabytes, dtype, rounds, **common)
    for dtype in dtypes:
        at = (sizes.widths[-1], sizes.tokens[-1], dtype)
        yield "memory", partial(memory.measure, *at, kernel=kernel, device=device)
    for name, shape in sizes.shapes:
        settings = {"shape": shape, "batch": sizes.batch, "length": sizes.length}
        yield "models", partial(models.measure, name, **settings, device=device, seed=seed)
    for quantity, values in sizes.sweeps:
        fixed = dict(sizes.growth_fixed)
        settings = {"fixed": fixed, "dtype": "bfloat16", **common}
        yield "growth", partial(growth.measure, quantity, values, rounds, **settings)
    for width, rival in product(sizes.simulator_widths, RIVALS):
        yield "simulators", partial(simulators.measure, rival, width, 5, tokens=sizes.tokens[0], **common)


#: The module of each part, for its table.
PARTS: dict[str, ModuleType] = {
    "layer": layer,
    "bandwidth": bandwidth,
    "memory": memory,
    "models": models,
    "growth": growth,
    "simulators": simulators,
}


def run(
    sizes: Sizes,
    device: str,
    kernel: str | None,
    seed: int,
    limit: float,
    store: Callable[[dict[str, list[Row]]], None],
) -> dict[str, list[Row]]:
    """Measure part after part; what fails or comes too late stays in the result with its reason.

    Args:
        sizes: how much.
        device: "cuda"; "cpu" only to test this file.
        kernel: name of a kernel; None for the rule.
        seed: of weights, inputs and orders.
        limit: seconds after which nothing new begins.
        store: is given the result so far after each measurement, so that an end by force loses little.

    Returns:
        Rows by part.
    """
    started = time.monotonic()
    parts: dict[str, list[Row]] = {name: [] for name in PARTS}
    for name, measure in measurements(sizes, device, kernel, seed):
        if time.monotonic() - started > limit:
            parts[name].append({"failed": f"not begun: the limit of {limit:.0f} s was over"})
            continue
        begun = time.monotonic()
        try:
            rows = measure()
        except Exception as error:
            # A device is lent by the minute: the other measurements go on.
            parts[name].append({"failed": f"{type(error).__name__}: {error}"})
        else:
            parts[name] += [rows] if isinstance(rows, dict) else rows
        print(f"{name}: {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
        if device == "cuda":
            torch.cuda.empty_cache()
        store(parts)
    return parts


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Args:
        argv: the command line's arguments; by default those of the process.
    """
    parser = parser_of(NAME, __doc__, rounds=Sizes.rounds)
    parser.add_argument("--kernel", help="name of a kernel; unset, the rule's choice")
    parser.add_argument("--limit", type=float, default=400, help="seconds after which nothing new begins")
    arguments = parser.parse_args(argv)
    if not torch.cuda.is_available():
        parser.error(
            "this benchmark needs a CUDA device, but torch sees none. On a CPU run "
            "`python -m benchmarks.layer`, `simulators`, `memory` and `growth`."
        )
    path = prepare(parser, arguments, NAME)
    result = record(NAME, arguments)
    sizes = Sizes(rounds=arguments.rounds)
    parts = run(
        sizes,
        "cuda",
        arguments.kernel,
        arguments.seed,
        arguments.limit,
        lambda parts: keep(path, result | {"parts": parts}),
    )
    print(report(parts))
    if any("failed" in row for rows in parts.values() for row in rows):
        sys.exit(1)


def report(parts: dict[str, list[Row]]) -> str:
    """Lay out a table for each part, and below it what failed."""
    blocks = []
    for name, rows in parts.items():
        module = PARTS[name]
        good = [module.line(row) for row in rows if "failed" not in row]
        blocks.append(f"{name}\n" + table(module.HEADER, good))
        blocks += [f"failed: {row['failed']}" for row in rows if "failed" in row]
    return "\n\n".join(blocks)


if __name__ == "__main__":
    main()
