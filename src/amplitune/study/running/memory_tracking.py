"""Live tensor memory, storage by storage, of what runs inside a with-block, on real or fake tensors."""

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


@dataclass(frozen=True)
class MemorySplit:
    """What the memory of a step is made of, in bytes; a storage that tensors share counts once.

    Args:
        weights: parameters and buffers of the model.
        gradients: gradients of its parameters, as the step left them.
        optimizer: the optimizer's state.
        activations: the most that all else took at a time: what the backward pass keeps, and temporaries.
        peak: the most that all took at a time. The parts need not all be at their highest then, so it is at
            most their sum.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    peak: int


class MemoryTrace(TorchDispatchMode):
    """The storages that come and go in a with-block, from `track_memory`.

    What an operator allocates inside and gives back before it ends is not seen, nor what an allocator rounds
    up to or keeps.

    Args:
        model: whose parameters, buffers and gradients are there already.
        optimizer: whose state is there already.
    """

    def __init__(self, model: nn.Module | None, optimizer: torch.optim.Optimizer | None) -> None:
        super().__init__()
        self._model, self._optimizer = model, optimizer
        self._known: dict[int, tuple[int, weakref.ref[Any]]] = {}
        #: (number of the storage, bytes that it takes or gives back), in order.
        self._events: list[tuple[int, int]] = []
        self._count = self._live = self._peak = 0
        self._look_at([*_weights(model), *_gradients(model), *_state(optimizer)])

    @property
    def live(self) -> int:
        """The bytes that are live now, those of the model and the optimizer included."""
        return self._live

    @property
    def peak(self) -> int:
        """The most bytes that were live at a time."""
        return self._peak

    def split(self) -> MemorySplit:
        """What the memory is made of, by what the model and the optimizer hold now."""
        numbers = [self._numbers(tensors) for tensors in self._persistent()]
        kept = set().union(*numbers)
        live = most = 0
        for number, change in self._events:
            if number not in kept:
                live += change
                most = max(most, live)
        weights, gradients, optimizer = (_bytes(tensors) for tensors in self._persistent())
        return MemorySplit(weights, gradients, optimizer, most, self._peak)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operator and look at what it returns."""
        result = func(*args, **(kwargs or {}))
        self._look_at(leaf for leaf in tree_iter(result) if isinstance(leaf, Tensor))
        return result

    def _look_at(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            storage = _storage(tensor)
            if storage is None or id(storage) in self._known:
                continue
            self._count += 1
            number, key, size = self._count, id(storage), storage.nbytes()

            def gone(_: object, number: int = number, key: int = key, size: int = size) -> None:
                del self._known[key]
                self._change(number, -size)

            self._known[key] = number, weakref.ref(storage, gone)
            self._change(number, size)

    def _change(self, number: int, size: int) -> None:
        self._live += size
        self._peak = max(self._peak, self._live)
        self._events.append((number, size))

    def _persistent(self) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        return _weights(self._model), _gradients(self._model), _state(self._optimizer)

    def _numbers(self, tensors: Iterable[Tensor]) -> set[int]:
        keys = {id(storage) for storage in map(_storage, tensors) if storage is not None}
        return {self._known[key][0] for key in keys if key in self._known}


@contextmanager
def track_memory(
    model: nn.Module | None = None, optimizer: torch.optim.Optimizer | None = None
) -> Iterator[MemoryTrace]:
    """Follow every storage that torch's operators make inside a with-block, until it is freed.

    Real and fake tensors (torch's FakeTensorMode, entered before) alike: with the latter nothing is computed
    and nothing allocated. Operators that amplitune registers count by what they return.

    Args:
        model: its parameters, buffers and gradients count from the beginning.
        optimizer: its state counts from the beginning.

    Returns:
        The trace, as the context's value; ask it for `peak` or `split()`, inside the block or after it.

    Example:
        >>> layer = nn.Linear(4, 3, bias=False)
        >>> with track_memory(layer) as trace:
        ...     layer(torch.ones(2, 4)).sum().backward()
        >>> trace.split().weights, trace.split().gradients
        (48, 48)
    """
    trace = MemoryTrace(model, optimizer)
    with trace:
        yield trace


def _storage(tensor: Tensor) -> Any:
    """A tensor's storage; None for a tensor that has none."""
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):
        return None


def _bytes(tensors: Iterable[Tensor]) -> int:
    storages = [storage for storage in map(_storage, tensors) if storage is not None]
    return sum({id(storage): storage.nbytes() for storage in storages}.values())


def _weights(model: nn.Module | None) -> list[Tensor]:
    return [] if model is None else [*model.parameters(), *model.buffers()]


def _gradients(model: nn.Module | None) -> list[Tensor]:
    return [p.grad for p in ([] if model is None else model.parameters()) if p.grad is not None]


def _state(optimizer: torch.optim.Optimizer | None) -> list[Tensor]:
    states = [] if optimizer is None else optimizer.state.values()
    return [entry for state in states for entry in state.values() if isinstance(entry, Tensor)]
