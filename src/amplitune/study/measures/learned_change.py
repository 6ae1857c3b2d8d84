"""What training changed in each module of a model, on tokens that it was not trained on."""

import functools
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from amplitune.adapters.qaa.layer import QAALayer
from amplitune.study.data.tokens import ensure_pad_token
from amplitune.study.measures.activations import Activations, batched, first_tokens, record
from amplitune.study.measures.change_rank import above_rounding, effective_rank, singular_values, stable_rank
from amplitune.study.measures.linear_share import Splits, linear_share, parts_of, split_inputs
from amplitune.study.measures.measured_modules import measured_modules
from amplitune.study.measures.similarity import linear_cka
from amplitune.study.measures.trained_circuit import circuit_measures
from amplitune.study.measures.untouched import untouched
from amplitune.study.methods.registry import find_method
from amplitune.study.settings.config import RunSpec

MEDIANS = ("effective_rank", "stable_rank", "cka", "linear_share")
"""The measures whose median over modules stands in the table of results."""

TOKENS_PER_WIDTH = 4
"""Tokens for each dimension of the hidden state, so that a rank is not that of the sample."""

MOST_TOKENS = 2048
"""Bounds the time: what follows costs the cube of tokens or of the width, whichever is less."""

MOST_BYTES = 2**30
"""Of activations held at a time; more modules than fit are measured in turns."""


def measure_modules(
    model: nn.Module,
    base_loader: Callable[[], nn.Module],
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Mapping[str, Any]],
    spec: RunSpec,
) -> list[dict[str, Any]]:
    """Compare each module of a trained model with the same module of the model it began as.

        D = Y - Y0,   Y and Y0 (tokens, d) a module's outputs in the trained and in the untouched model

    Both models read the same tokens, so D holds what the module itself learned and what reached it from the
    modules before it. Nothing is drawn at random; the models and their modes are left as they were.

    Args:
        model: the trained model.
        base_loader: loads the pretrained model again; not called if switching an adapter off is as good.
        tokenizer: the model's.
        rows: tokenised examples that were not trained on; the first are taken, until there are four tokens
            for each dimension of the hidden state, or 2048.
        spec: the run: its batch size.

    Returns:
        For each of `measured_modules` a record: `module`, `tokens`, `relative_change` (||D|| / ||Y0||),
        `constant_share` (the share of ||D||^2 that is the same for each token), `effective_rank` and
        `stable_rank` of D, `cka` of Y with Y0, `linear_share` of D in the module's untouched input, and for a
        layer of QAA what `circuit_measures` gives. None where a number does not exist; a change that is no
        more than rounding has no ranks and no shares. No records for a method that trains nothing.
    """
    width = hidden_size(model)
    examples = first_tokens(rows, min(TOKENS_PER_WIDTH * width, MOST_TOKENS))
    if not examples or find_method(spec.method.method).trains == "nothing":
        return []
    batches = batched(examples, spec.training.per_device_eval_batch_size, ensure_pad_token(tokenizer))
    parts = parts_of([len(ids) for ids in examples])
    load = functools.cache(base_loader)
    records: list[dict[str, Any]] = []
    with _evaluating(model):
        with untouched(model, load) as base:
            of_base = measured_modules(base)
            # Adapters that put other modules in the place of a model's own hide them while switched on.
            of_model = of_base if base is model else measured_modules(model)
        names = [name for name in of_base if name in of_model]
        size = max(1, MOST_BYTES // (3 * width * len(parts) * 4))
        for start in range(0, len(names), size):
            some = names[start : start + size]
            with untouched(model, load) as base:
                before = record(base, {name: of_base[name] for name in some}, batches, some)
            layers = {name: of_model[name] for name in some}
            circuits = [name for name in some if isinstance(layers[name], QAALayer)]
            after = record(model, layers, batches, circuits)
            records += _compare(before, after, layers, parts)
    return records


def medians(records: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """The median over modules of each of `MEDIANS`; None where no module has it.

    Args:
        records: from `measure_modules`.

    Example:
        >>> medians([{"cka": 0.5}, {"cka": 1.0, "effective_rank": 3.0}])["cka"]
        0.75
    """
    known = {name: [r[name] for r in records if r.get(name) is not None] for name in MEDIANS}
    return {name: statistics.median(values) if values else None for name, values in known.items()}


def hidden_size(model: Any) -> int:
    """Width of a model's hidden state; as many as the most tokens where its config does not say."""
    config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
    return int(getattr(config, "hidden_size", 0) or MOST_TOKENS)


def _compare(
    before: Activations, after: Activations, layers: Mapping[str, nn.Module], parts: Tensor
) -> Iterator[dict[str, Any]]:
    decomposed: dict[int, Splits | None] = {}
    for name, base in before.outputs.items():
        trained = after.outputs.get(name)
        if trained is None or trained.shape != base.shape or len(base) != len(parts):
            continue
        inputs = before.inputs[name]
        if id(inputs) not in decomposed:
            # One at a time: neighbours share their input.
            decomposed = {id(inputs): split_inputs(_exact(inputs), parts)}
        layer = layers[name]
        circuit = (
            circuit_measures(layer, after.inputs[name])
            if isinstance(layer, QAALayer) and name in after.inputs
            else {}
        )
        yield {"module": name, **_change(base, trained, decomposed[id(inputs)]), **circuit}


def _change(base: Tensor, trained: Tensor, inputs: Splits | None) -> dict[str, Any]:
    """The measures of one module, from its outputs in both models."""
    epsilon = torch.finfo(base.dtype).eps
    before, after = _exact(base), _exact(trained)
    change = after - before
    values = above_rounding(singular_values(change), before, epsilon)
    size = float(change.square().sum())
    measured: dict[str, Any] = {
        "tokens": len(base),
        "relative_change": float(change.norm() / before.norm()) if before.any() else None,
        "constant_share": None,
        "effective_rank": effective_rank(values),
        "stable_rank": stable_rank(values),
        "cka": linear_cka(before, after),
        "linear_share": None,
    }
    if len(values):
        measured["constant_share"] = float(change.mean(dim=0).square().sum()) * len(change) / size
        rounding = epsilon * float(before.square().mean().sqrt())
        measured["linear_share"] = linear_share(inputs, change, rounding) if inputs is not None else None
    return measured


def _exact(values: Tensor) -> Tensor:
    """In float64, on a device that has it."""
    return (values.cpu() if values.device.type == "mps" else values).double()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
