"""What chosen modules read and write while a model runs on given tokens."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Batch:
    """Token ids padded on the right.

    Args:
        ids: shape (examples, length).
        mask: 1 on tokens, 0 on padding, same shape.
    """

    ids: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Activations:
    """Inputs and outputs of modules, padding and virtual tokens left out.

    Args:
        inputs: module -> shape (tokens, d_in); modules that read the same tensor share it.
        outputs: module -> shape (tokens, d_out).
    """

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


def first_tokens(rows: Sequence[Row], tokens: int) -> list[list[int]]:
    """Take whole examples from the first on until they have enough tokens.

    Args:
        rows: tokenised rows.
        tokens: how many are enough; an example that alone has more is cut.

    Example:
        >>> rows = [{"input_ids": [1, 2, 3]}, {"input_ids": [4, 5]}, {"input_ids": [6]}]
        >>> first_tokens(rows, 4), first_tokens(rows, 2)
        ([[1, 2, 3], [4, 5]], [[1, 2]])
    """
    taken: list[list[int]] = []
    for row in rows:
        if sum(map(len, taken)) >= tokens:
            break
        taken.append(list(row["input_ids"])[:tokens])
    return taken


def batched(examples: Sequence[Sequence[int]], size: int, pad: int) -> list[Batch]:
    """Put examples into batches, in their order.

    Args:
        examples: token ids.
        size: examples a batch.
        pad: any token.
    """
    batches = []
    for start in range(0, len(examples), size):
        some = [torch.tensor(ids) for ids in examples[start : start + size]]
        ids = nn.utils.rnn.pad_sequence(some, batch_first=True, padding_value=pad)
        mask = nn.utils.rnn.pad_sequence([torch.ones_like(one) for one in some], batch_first=True)
        batches.append(Batch(ids, mask))
    return batches


@torch.no_grad()
def record(
    model: nn.Module, modules: Mapping[str, nn.Module], batches: Sequence[Batch], inputs_of: Collection[str]
) -> Activations:
    """Run a model and keep what modules read and write.

    Args:
        model: what to call, in the mode it shall run in.
        modules: name -> module of that model.
        batches: the tokens.
        inputs_of: names of the modules whose inputs are kept too.

    Returns:
        The activations; a module that was not called, or does not map (examples, length, d) to the same, is
        left out.
    """
    inputs: dict[str, list[Tensor]] = {}
    outputs: dict[str, list[Tensor]] = {}
    device = next(model.parameters()).device
    for batch in batches:
        ids, mask = batch.ids.to(device), batch.mask.to(device)
        with _watching(modules) as calls:
            model(input_ids=ids, attention_mask=mask)
        kept: dict[int, Tensor] = {}
        for name, (read, written) in calls.items():
            outputs.setdefault(name, []).append(_tokens(written, mask.bool(), kept))
            if name in inputs_of:
                inputs.setdefault(name, []).append(_tokens(read, mask.bool(), kept))
    joined: dict[tuple[int, ...], Tensor] = {}
    return Activations(_join(inputs, joined), _join(outputs, joined))


@contextmanager
def _watching(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """Note input and output of the last call of each module."""
    calls: dict[str, tuple[Tensor, Tensor]] = {}

    def watch(name: str) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            read, written = _first_tensor((*args, *kwargs.values())), _first_tensor((output,))
            if read is not None and written is not None and read.ndim == 3 and written.ndim == 3:
                calls[name] = (read, written)

        return hook

    handles = [
        module.register_forward_hook(watch(name), with_kwargs=True) for name, module in modules.items()
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _first_tensor(values: tuple[Any, ...]) -> Tensor | None:
    for value in values:
        found = _first_tensor(value) if isinstance(value, tuple) else value
        if isinstance(found, Tensor) and found.is_floating_point():
            return found
    return None


def _tokens(values: Tensor, mask: Tensor, kept: dict[int, Tensor]) -> Tensor:
    """The rows of real tokens; of a tensor that was seen already, the same ones again."""
    if id(values) not in kept:
        # Virtual tokens of an adapter stand in front.
        kept[id(values)] = values[:, -mask.shape[1] :][mask]
    return kept[id(values)]


def _join(parts: dict[str, list[Tensor]], joined: dict[tuple[int, ...], Tensor]) -> dict[str, Tensor]:
    result = {}
    for name, tensors in parts.items():
        key = tuple(id(tensor) for tensor in tensors)
        if key not in joined:
            joined[key] = torch.cat(tensors)
        result[name] = joined[key]
    return result
