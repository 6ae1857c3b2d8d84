"""Measures QAA on three projections of one input, with a circuit each and with one for all, against LoRA."""

from collections.abc import Mapping, Sequence
from typing import Any

import peft
import torch
from benchmarks.adapted import RANK, base_layer, inputs, training_pass
from benchmarks.command import DTYPES, keep, parser_of, prepare, record, table
from benchmarks.ratios import ratio
from benchmarks.timing import Case, clock_of, interleave
from torch import Tensor, nn

from amplitune import QAAConfig

NAME = "shared"
HEADER = (
    "d",
    "tokens",
    "dtype",
    "base",
    "circuits each / LoRA's",
    "one circuit / LoRA's",
    "one circuit / circuits each",
)
TARGETS = ("q_proj", "k_proj", "v_proj")


class Projections(nn.Module):
    """The projections of an attention that read its input, frozen; their outputs are added up."""

    q_proj: nn.Module
    k_proj: nn.Module
    v_proj: nn.Module

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        """Take the layers by name."""
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Tensor:
        """Project the input three times."""
        total: Tensor = self.q_proj(x) + self.k_proj(x) + self.v_proj(x)
        return total


#: What is compared, by the name of its case; LoRA is the measure.
CONFIGS: dict[str, Any] = {
    "lora": lambda: peft.LoraConfig(r=RANK, target_modules=list(TARGETS), init_lora_weights=False),
    "each": lambda: QAAConfig(target_modules=list(TARGETS), init_weights=False),
    "one": lambda: QAAConfig(target_modules=list(TARGETS), init_weights=False, share_circuit=True),
}


def adapted(layers: Mapping[str, nn.Module], name: str | None) -> nn.Module:
    """Put an adapter on the projections; the layers themselves are shared, not copied.

    Args:
        layers: by name.
        name: of CONFIGS; None for the bare projections.

    Returns:
        The projections, without the model around them.
    """
    projections = Projections(layers)
    if name is not None:
        peft.get_peft_model(nn.Sequential(projections), CONFIGS[name]())
    return projections


def measure(
    width: int, tokens: int, dtype: str, rounds: int, device: str = "cpu", seed: int = 0
) -> list[dict[str, Any]]:
    """Time the projections bare, with LoRA and with QAA both ways, forward and backward, interleaved.

        own cost = (projections with adapter) - (projections alone)

    Args:
        width: d_in and d_out of each projection.
        tokens: number of rows.
        dtype: of the base layers and the input; the adapters stay float32 or wider.
        rounds: interleaved rounds.
        device: "cpu" or "cuda".
        seed: of the orders.

    Returns:
        For base layers that project and for those that hand their input through: the ratios of own costs, and
        the seconds of each case in each round.
    """
    x, grad = inputs(tokens, width, DTYPES[dtype], device)
    cases: dict[str, Case] = {}
    for base in ("linear", "identity"):
        layers = {
            name: base_layer(width, DTYPES[dtype], device, identity=base == "identity") for name in TARGETS
        }
        cases[base] = training_pass(adapted(layers, None), x, grad)
        for name in CONFIGS:
            cases[f"{base}+{name}"] = training_pass(adapted(layers, name), x, grad)
    seconds = interleave(cases, rounds, clock_of(device), seed=seed)

    def own(base: str, ours: str, theirs: str) -> Any:
        return ratio(seconds[f"{base}+{ours}"], seconds[f"{base}+{theirs}"], seconds[base], seed)

    return [
        {
            "d": width,
            "tokens": tokens,
            "dtype": dtype,
            "base": base,
            "ratios": {
                "each_over_lora": own(base, "each", "lora"),
                "one_over_lora": own(base, "one", "lora"),
                "one_over_each": own(base, "one", "each"),
            },
            "seconds": {
                case: [float(f"{value:.5g}") for value in values]
                for case, values in seconds.items()
                if case.split("+")[0] == base
            },
        }
        for base in ("linear", "identity")
    ]


def line(row: dict[str, Any]) -> list[object]:
    """Lay out a row of `measure` under HEADER."""
    return [row["d"], row["tokens"], row["dtype"], row["base"], *row["ratios"].values()]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Args:
        argv: the command line's arguments; by default those of the process.
    """
    parser = parser_of(NAME, __doc__, rounds=40)
    parser.add_argument("--d", type=int, nargs="+", default=[2048], help="widths, d_in = d_out")
    parser.add_argument("--tokens", type=int, default=2048, help="rows of the input (default %(default)s)")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of base layers and input")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments = parser.parse_args(argv)
    path = prepare(parser, arguments, f"{NAME}-{arguments.device}")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device must be 'cpu' without a CUDA device, but is 'cuda'. Leave it unset.")
    result = record(NAME, arguments)
    rows: list[dict[str, Any]] = []
    for width in arguments.d:
        rows += measure(
            width, arguments.tokens, arguments.dtype, arguments.rounds, arguments.device, arguments.seed
        )
    keep(path, result | {"rows": rows})
    print(table(HEADER, [line(row) for row in rows]))


if __name__ == "__main__":
    main()
