"""Measures what an adapted layer keeps for its backward pass, and its peak memory, against LoRA r=8."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch
from benchmarks.command import DTYPES, ROOT, keep, parser_of, prepare, record, table
from benchmarks.ratios import digits
from torch import Tensor, nn

from amplitune.quantum.kernels.dispatch import kernel as using
from amplitune.study.running.memory import read_peak, reset_peak
from benchmarks import adapted

NAME = "memory"
HEADER = ("adapter", "d", "tokens", "dtype", "saved / LoRA's", "saved / (bytes of x)", "peak / LoRA's")

#: Adapters by name, as fields of QAAConfig; None is peft's LoRA, to which the others are compared.
ADAPTERS: dict[str, dict[str, Any] | None] = {
    "LoRA r=8": None,
    **{f"QAA depth {depth}": {"depth": depth} for depth in (1, 2, 4, 8)},
    **{f"QAA {readout}": {"readout": readout} for readout in ("Z+ZZ", "XYZ", "probabilities")},
}


@contextmanager
def counting(module: nn.Module) -> Iterator[Callable[[], int]]:
    """Count the bytes that autograd keeps of what runs inside a with-block.

    Each storage counts once and whole, however many views of it are kept, because the whole stays alive.
    Parameters and buffers of the module do not count.

    Args:
        module: what runs.

    Yields:
        A function that returns the number of bytes so far.
    """
    own = {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    # The tensors stay referenced, so that no storage is freed and its address used again.
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        address = tensor.untyped_storage().data_ptr()
        if address not in own:
            kept[address] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield lambda: sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def make(adapter: str, width: int, dtype: str, device: str) -> nn.Module:
    """Make a frozen linear layer with one of ADAPTERS."""
    base = adapted.base_layer(width, DTYPES[dtype], device)
    settings = ADAPTERS[adapter]
    return adapted.with_lora(base) if settings is None else adapted.with_qaa(base, settings)


def saved_bytes(adapter: str, width: int, tokens: int, dtype: str, device: str = "cpu") -> int:
    """Count what a forward pass keeps, the layer's input included.

    Args:
        adapter: key of ADAPTERS.
        width: d_in and d_out.
        tokens: number of rows.
        dtype: of base layer and input.
        device: "cpu" or "cuda".

    Returns:
        Bytes.
    """
    layer = make(adapter, width, dtype, device)
    x, _ = adapted.inputs(tokens, width, DTYPES[dtype], device)
    with counting(layer) as count:
        layer(x)
        return count()


def peak_bytes(adapter: str, width: int, tokens: int, dtype: str, device: str, kernel: str | None) -> int:
    """Measure how far forward and backward raise memory above weights and input.

    On a CUDA device by torch's allocator; on a CPU by the resident memory of this process, which should be a
    fresh one, as `probed_peak` makes it.

    Args:
        adapter: key of ADAPTERS.
        width: d_in and d_out.
        tokens: number of rows.
        dtype: of base layer and input.
        device: "cpu" or "cuda".
        kernel: name of a kernel; None for the rule.

    Returns:
        Bytes.
    """
    layer = make(adapter, width, dtype, device)
    # One pass before, on few rows: libraries load and threads start.
    adapted.training_pass(layer, *adapted.inputs(16, width, DTYPES[dtype], device), kernel)()
    case = adapted.training_pass(layer, *adapted.inputs(tokens, width, DTYPES[dtype], device), kernel)
    reset_peak()
    # Just after a reset, the peak is what is in use.
    before, _ = read_peak()
    case()
    if device == "cuda":
        torch.cuda.synchronize()
    after, _ = read_peak()
    return after - before


def probed_peak(adapter: str, width: int, tokens: int, dtype: str, device: str, kernel: str | None) -> int:
    """Run `peak_bytes` in a process of its own.

    Args:
        adapter: key of ADAPTERS.
        width: d_in and d_out.
        tokens: number of rows.
        dtype: of base layer and input.
        device: "cpu".
        kernel: name of a kernel; None for the rule.

    Returns:
        Bytes.
    """
    probe = json.dumps([adapter, width, tokens, dtype, device, kernel])
    # glibc would keep large blocks that are freed, and hide the next pass in them.
    glibc = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    # With a CUDA device in sight, the peak would be that device's.
    environment = os.environ | glibc | {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "benchmarks.memory", "--probe", probe]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the process that measures memory failed:\n{done.stderr}")
    return int(done.stdout)


def measure(
    width: int,
    tokens: int,
    dtype: str,
    *,
    adapters: Sequence[str] = tuple(ADAPTERS),
    rounds: int = 1,
    kernel: str | None = None,
    device: str = "cpu",
) -> list[dict[str, Any]]:
    """Measure saved and peak bytes of each adapter.

    Args:
        width: d_in and d_out.
        tokens: number of rows.
        dtype: of base layer and input.
        adapters: keys of ADAPTERS, the first to compare with.
        rounds: how often the peak is measured; the median counts.
        kernel: name of a kernel; None for the rule.
        device: "cpu" or "cuda".

    Returns:
        A row for each adapter.
    """
    rows: list[dict[str, Any]] = []
    for adapter in adapters:
        with using(kernel):
            saved = saved_bytes(adapter, width, tokens, dtype, device)
        probe = probed_peak if device == "cpu" else peak_bytes
        peak = median(probe(adapter, width, tokens, dtype, device, kernel) for _ in range(rounds))
        row: dict[str, Any] = {
            "adapter": adapter,
            "d": width,
            "tokens": tokens,
            "dtype": dtype,
            "saved_bytes_per_token": saved / tokens,
            "peak_bytes": peak,
        }
        first = rows[0] if rows else row
        row["ratios"] = {
            "saved_over_lora": row["saved_bytes_per_token"] / first["saved_bytes_per_token"],
            "saved_over_input": saved / tokens / (width * DTYPES[dtype].itemsize),
            "peak_over_lora": peak / first["peak_bytes"],
        }
        rows.append(row)
    return rows


def line(row: dict[str, Any]) -> list[object]:
    """Lay out a row of `measure` under HEADER."""
    sizes = [row[key] for key in ("adapter", "d", "tokens", "dtype")]
    ratios = row["ratios"]
    saved = [f"{ratios[name]:.4f}" for name in ("saved_over_lora", "saved_over_input")]
    return [*sizes, *saved, digits(ratios["peak_over_lora"])]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Args:
        argv: the command line's arguments; by default those of the process.
    """
    parser = parser_of(NAME, __doc__, rounds=3)
    parser.add_argument("--d", type=int, nargs="+", default=[2048], help="widths, d_in = d_out")
    parser.add_argument("--tokens", type=int, default=2048, help="rows of the input (default %(default)s)")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of base layer and input")
    parser.add_argument("--adapters", nargs="+", choices=ADAPTERS, default=list(ADAPTERS), metavar="NAME")
    parser.add_argument("--kernel", help="name of a kernel; unset, the rule's choice")
    parser.add_argument("--probe", type=json.loads, help="(internal) print the peak bytes of one case")
    arguments = parser.parse_args(argv)
    if arguments.probe:
        print(peak_bytes(*arguments.probe))
        return
    path = prepare(parser, arguments, f"{NAME}-cpu")
    result = record(NAME, arguments)
    rows: list[dict[str, Any]] = []
    for width in arguments.d:
        rows += measure(
            width,
            arguments.tokens,
            arguments.dtype,
            adapters=arguments.adapters,
            rounds=arguments.rounds,
            kernel=arguments.kernel,
        )
    keep(path, result | {"rows": rows})
    print(table(HEADER, [line(row) for row in rows]))


if __name__ == "__main__":
    main()
