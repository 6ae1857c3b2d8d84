"""Measures what an adapter adds to a token of generation at batch 1, as a ratio to unmerged LoRA r=8."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import peft
import torch
from benchmarks.adapted import RANK, base_layer, with_lora, with_qaa
from benchmarks.command import DTYPES, keep, parser_of, prepare, record, table
from benchmarks.ratios import ratio
from benchmarks.timing import Case, clock_of, interleave
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, LlamaConfig

from amplitune import QAAConfig

NAME = "generation"
HEADER = (
    "d",
    "dtype",
    "layers",
    "targets",
    "added to a layer / LoRA's",
    "added to a token / LoRA's",
    "(model + QAA) / model",
    "(model + LoRA) / model",
)

#: As small as the rest of the model can be, so that the adapters' share can be told from its noise.
SMALL: dict[str, Any] = {
    "vocab_size": 64,
    "intermediate_size": 64,
    "max_position_embeddings": 1024,
    "eos_token_id": None,
}


def of_one_token(layer: nn.Module, x: Tensor) -> Case:
    """Make the case: a layer on one token, without gradients."""

    def case() -> Tensor:
        with torch.no_grad():
            y: Tensor = layer(x)
            return y

    return case


def generated(model: Any, prompt: Tensor, tokens: int) -> Case:
    """Make the case: greedy generation with a KV cache, always of the same number of tokens."""
    settings: dict[str, Any] = {"do_sample": False, "use_cache": True, "pad_token_id": 0}

    def case() -> Tensor:
        out: Tensor = model.generate(
            input_ids=prompt, max_new_tokens=tokens, min_new_tokens=tokens, **settings
        )
        return out

    return case


def llama(width: int, layers: int, dtype: torch.dtype, device: str) -> nn.Module:
    """Make a Llama of few layers with random weights.

    Args:
        width: hidden size.
        layers: number of layers.
        dtype: of the weights.
        device: "cpu" or "cuda".

    Returns:
        The model, in evaluation mode.
    """
    heads = max(1, width // 64)
    config = LlamaConfig(
        **SMALL,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
    )
    with torch.device(device):
        model: nn.Module = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return model.eval()


def on_the_same_weights(model: nn.Module) -> nn.Module:
    """Copy a model but for its tensors: where in memory weights lie adds to a token more than an adapter.

    Args:
        model: the model.

    Returns:
        The copy, on the same parameters and buffers.
    """
    shared = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in shared})


def measure(
    width: int,
    layers: int,
    tokens: int,
    dtype: str,
    rounds: int,
    targets: Sequence[str] = ("q_proj", "v_proj"),
    share_circuit: bool = False,
    device: str = "cpu",
    seed: int = 0,
) -> dict[str, Any]:
    """Time a layer on one token and the generation of tokens, bare, with LoRA and with QAA, interleaved.

        added = (with adapter) - (without),   ratio = QAA's / LoRA's

    The layer hands its input through, so that its own time does not hide what is added.

    Args:
        width: hidden size.
        layers: of the model that generates.
        tokens: that are generated in one measurement.
        dtype: of the model; the adapters stay float32 or wider.
        rounds: interleaved rounds.
        targets: modules with an adapter.
        share_circuit: whether those of QAA that read the same input have one circuit together.
        device: "cpu" or "cuda".
        seed: of the orders.

    Returns:
        The sizes, the ratios, and the seconds of each case in each round.
    """
    base = base_layer(width, DTYPES[dtype], device, identity=True)
    x = torch.randn(1, 1, width, dtype=DTYPES[dtype], device=device)
    model = llama(width, layers, DTYPES[dtype], device)
    prompt = torch.arange(1, 9, device=device)[None]
    configs: dict[str, Callable[[], Any]] = {
        "lora": lambda: peft.LoraConfig(r=RANK, target_modules=list(targets), init_lora_weights=False),
        "qaa": lambda: QAAConfig(
            target_modules=list(targets), init_weights=False, share_circuit=share_circuit
        ),
    }
    adapted = {
        name: peft.get_peft_model(on_the_same_weights(model), make()) for name, make in configs.items()
    }
    cases = {
        "layer": of_one_token(base, x),
        "layer+lora": of_one_token(with_lora(base).eval(), x),
        "layer+qaa": of_one_token(with_qaa(base).eval(), x),
        "model": generated(model, prompt, tokens),
        **{
            f"model+{name}": generated(with_adapter.eval(), prompt, tokens)
            for name, with_adapter in adapted.items()
        },
    }
    seconds = interleave(cases, rounds, clock_of(device), seed=seed)
    return {
        "d": width,
        "dtype": dtype,
        "layers": layers,
        "targets": [*targets],
        "share_circuit": share_circuit,
        "tokens": tokens,
        "ratios": {
            "added_to_a_layer": ratio(seconds["layer+qaa"], seconds["layer+lora"], seconds["layer"], seed),
            "added_to_a_token": ratio(seconds["model+qaa"], seconds["model+lora"], seconds["model"], seed),
            "qaa_over_base": ratio(seconds["model+qaa"], seconds["model"], seed=seed),
            "lora_over_base": ratio(seconds["model+lora"], seconds["model"], seed=seed),
        },
        "seconds": {case: [float(f"{value:.5g}") for value in values] for case, values in seconds.items()},
    }


def line(row: dict[str, Any]) -> list[object]:
    """Lay out a row of `measure` under HEADER."""
    targets = " ".join(row["targets"]) + (", one circuit" if row["share_circuit"] else "")
    return [row["d"], row["dtype"], row["layers"], targets, *row["ratios"].values()]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Args:
        argv: the command line's arguments; by default those of the process.
    """
    parser = parser_of(NAME, __doc__, rounds=60)
    parser.add_argument("--d", type=int, nargs="+", default=[768, 2048], help="hidden sizes")
    parser.add_argument("--layers", type=int, default=2, help="of the model (default %(default)s)")
    parser.add_argument("--tokens", type=int, default=16, help="generated at a time (default %(default)s)")
    parser.add_argument("--dtype", choices=DTYPES, nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--targets", nargs="+", default=["q_proj", "v_proj"], help="modules with an adapter")
    parser.add_argument("--share-circuit", action="store_true", help="one circuit for q, k and v")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments = parser.parse_args(argv)
    path = prepare(parser, arguments, f"{NAME}-{arguments.device}")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device must be 'cpu' without a CUDA device, but is 'cuda'. Leave it unset.")
    result = record(NAME, arguments)
    rows = [
        measure(
            width,
            arguments.layers,
            arguments.tokens,
            dtype,
            arguments.rounds,
            arguments.targets,
            arguments.share_circuit,
            arguments.device,
            arguments.seed,
        )
        for width in arguments.d
        for dtype in arguments.dtype
    ]
    keep(path, result | {"rows": rows})
    print(table(HEADER, [line(row) for row in rows]))


if __name__ == "__main__":
    main()
