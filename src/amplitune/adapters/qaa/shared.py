"""One circuit of several modules that read the same input: which modules, and its values, computed once."""

import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from amplitune.adapters.layers.offloading import is_offloaded, onloaded
from amplitune.quantum import Circuit, expectation
from amplitune.quantum.measured import active

#: Names of modules of one parent that read the same input in transformers' models and in diffusers'.
SAME_INPUT = (
    ("q_proj", "k_proj", "v_proj"),
    ("query", "key", "value"),
    ("query_proj", "key_proj", "value_proj"),
    ("q", "k", "v"),
    ("q_lin", "k_lin", "v_lin"),
    ("linear_q", "linear_k", "linear_v"),
    ("to_q", "to_k", "to_v"),
    ("wq", "wk", "wv"),
    ("q_a_proj", "kv_a_proj_with_mqa"),
    ("gate_proj", "up_proj"),
    ("wi_0", "wi_1"),
    ("w1", "w3"),
)


def siblings_of(name: str) -> tuple[str, ...]:
    """List the modules of the same parent that read the input of a module.

    Args:
        name: the module's name in its parent.

    Returns:
        The others' names; none where nothing is known of the module.

    Example:
        >>> siblings_of("k_proj"), siblings_of("o_proj")
        (('q_proj', 'v_proj'), ())
    """
    for group in SAME_INPUT:
        if name in group:
            return tuple(other for other in group if other != name)
    return ()


@dataclass
class _Values:
    """The values of the last input of a thread, until each module has asked for them."""

    x: "weakref.ref[Tensor]"
    use: "weakref.ref[Any] | None"
    state: tuple[object, ...]
    z: Tensor
    waiting: frozenset[str]


class _Slot:
    """What a thread keeps, emptied by the death of the input or of the graph of the first module's output."""

    def __init__(self) -> None:
        self.kept: _Values | None = None
        # Weak, as `forget` lies in the slot itself.
        slot_of = weakref.ref(self)

        def forget(reference: "weakref.ref[Any]") -> None:
            slot = slot_of()
            kept = None if slot is None else slot.kept
            if slot is not None and kept is not None and (kept.x is reference or kept.use is reference):
                slot.kept = None

        self.forget = forget


class _Slots(threading.local):
    def __init__(self) -> None:
        self.slot = _Slot()


class _Use(torch.autograd.Function):
    """z itself, with a node of its own, which lives as long as the graph of what is computed from it."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        return z.view_as(z)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


class SharedCircuit:
    """A circuit whose angles belong to one module, and whose values several modules use.

    The modules ask one after the other, each with its input. The first one's values are kept until each of
    the others has asked, or the input is gone, or, where gradients are recorded, the graph behind the first
    one's output, as after a pass that failed. They are handed to a module whose input is the same tensor
    object, unchanged, under the same conditions (gradients, shots, checkpointing). Whoever asks with another
    input, or twice, gets values of its own. A change is seen if autograd counts it, as those of operations
    in place; writing to `x.data`, `x.numpy()` or `angles.data` between the first module's turn and the
    last's is not seen, as it is not in autograd's own saved tensors.

    torch.compile traces neither versions of tensors nor weak references: in compiled code each module
    computes its own values, and inductor, when it trains, merges what is equal in the forward pass. So do
    transforms of torch.func, and tensors made under `torch.inference_mode`, whose changes are not counted.

    Args:
        parameters: where the owner keeps its angles; not a submodule of the others, so that the angles are
            counted and saved once. Not the owner itself, which keeps this circuit.
        adapter_name: the adapter.
        circuit: the owner's circuit.
        name: the owner's name in its parent.
    """

    def __init__(self, parameters: nn.ParameterDict, adapter_name: str, circuit: Circuit, name: str) -> None:
        """Begin with the owner alone."""
        self.parameters = parameters
        self.adapter_name = adapter_name
        self.circuit = circuit
        self.names = frozenset({name})
        self._slots = _Slots()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to a pass, for pickle and deepcopy."""
        return {name: value for name, value in vars(self).items() if name != "_slots"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin without values."""
        vars(self).update(state, _slots=_Slots())

    @property
    def angles(self) -> Tensor:
        """The angles, shape (circuits, depth, rotations, n_qubits), brought if accelerate keeps them away."""
        angles = self.held
        if not (angles.is_meta and is_offloaded([self.parameters])):
            return angles
        # Outside the owner's turn. The hook then puts another tensor in the place of what it has brought.
        with onloaded([self.parameters]):
            return self.held

    @property
    def held(self) -> Tensor:
        """The angles where they are; see `QAALayer._parameters_of`."""
        held: Any = self.parameters._parameters
        name = self.adapter_name
        angles: Tensor = held[name] if name in held else self.parameters[name]
        return angles

    def values(self, name: str, x: Tensor) -> Tensor:
        """Give z for a module's input.

        Args:
            name: the module's name in its parent.
            x: its input, shape (..., d_in).

        Returns:
            z, shape (..., circuits * m).
        """
        held = self.held
        if torch.compiler.is_compiling() or _changes_are_unseen(x, held):
            return self._computed(x)
        # accelerate makes new tensors of the same numbers whenever it brings them.
        state = _state(x, held, self.parameters if is_offloaded([self.parameters]) else held)
        slot = self._slots.slot
        kept = slot.kept
        expected = kept is not None and name in kept.waiting
        waiting = (kept.waiting if kept is not None and expected else self.names) - {name}
        if kept is not None and expected and kept.x() is x and _same(kept.state, state):
            kept.waiting = waiting
            slot.kept = kept if waiting else None
            return kept.z
        z = self._computed(x)
        slot.kept = None
        if not waiting:
            return z
        # The graph of z keeps x, so that x does not die as long as z is kept. When a pass ends early, the
        # graph of what was computed from z dies.
        handed = _Use.apply(z) if z.requires_grad else z
        use = weakref.ref(handed.grad_fn, slot.forget) if handed.requires_grad else None
        slot.kept = _Values(weakref.ref(x, slot.forget), use, state, z, waiting)
        return handed

    def _computed(self, x: Tensor) -> Tensor:
        # A replica of torch.nn.DataParallel asks on its own device.
        angles = self.angles
        angles = angles if angles.device == x.device else angles.to(x.device)
        return expectation(x, angles, self.circuit)


@dataclass(frozen=True)
class Membership:
    """A module's part in a shared circuit.

    Args:
        circuit: the circuit.
        name: the module's name in its parent.
    """

    circuit: SharedCircuit
    name: str

    def values(self, x: Tensor) -> Tensor:
        """Give z for the module's input; see `SharedCircuit.values`."""
        return self.circuit.values(self.name, x)


def _changes_are_unseen(x: Tensor, angles: Tensor) -> bool:
    return x.is_inference() or angles.is_inference() or torch._C._are_functorch_transforms_active()


def _state(x: Tensor, angles: Tensor, source: object) -> tuple[object, ...]:
    """All but the identity of x that values depend on; objects are compared by identity."""
    # Non-reentrant checkpoints pack what a region saves: values of one region must not serve another, which
    # would save less in its forward pass than in its recomputation.
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
    pack: Any = None
    if hooks is not None:
        pack = hooks[0]
        # One object as long as the hook lives. The hook of a checkpoint keeps the inputs of its region.
        with suppress(TypeError):
            pack = weakref.ref(pack)
    return (
        x._version,
        angles._version if source is angles else 0,
        x.requires_grad,
        angles.requires_grad,
        torch.is_grad_enabled(),
        source,
        active(),
        pack,
    )


def _same(first: tuple[object, ...], second: tuple[object, ...]) -> bool:
    return all(
        one is other or (isinstance(one, bool | int) and one == other)
        for one, other in zip(first, second, strict=True)
    )
