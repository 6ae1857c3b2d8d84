"""The QAA branch of one layer."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from amplitune.adapters.layers.linear_layer import LinearAdapterLayer
from amplitune.adapters.qaa.config import QAAConfig
from amplitune.adapters.qaa.fused import FusedParts, check_width
from amplitune.adapters.qaa.merging import MergeableQAALayer
from amplitune.adapters.qaa.shared import Membership, SharedCircuit
from amplitune.errors import ConfigError
from amplitune.quantum import Circuit, project, qubits_for
from amplitune.quantum.direct_projection import project_directly
from amplitune.quantum.projection import project_values


class QAALayer(MergeableQAALayer):
    """A frozen layer with a parametrised quantum circuit beside it.

        z = expectation(x, angles, circuit),   y = W0 x (+ b0) + scaling * (W_up z + b_up)

    Parameters of an adapter: `qaa_angles` (circuits, depth, rotations, n_qubits), `qaa_up_proj`
    (d_out, circuits * m) and `qaa_up_proj_bias` (d_out,): circuits * depth * rotations * n_qubits angles, and
    circuits * m * d_out + d_out classical weights.

    Angles start uniform in [-pi, pi), one period of each rotation; the sources do not say how. W_up and b_up
    start at zero, so a fresh adapter changes nothing; angles get their first gradient after the first step
    of W_up. With `train_angles: false` they stay where they start; they are saved and loaded all the same.
    Layers that share a circuit have one set of angles, which belongs to the first of them: `angles_of`.
    With parts of a fused projection there are as many circuits for each, and rows of W_up for these: `up_of`.

    Source:
        arXiv 2509.16244 (QAA).
    """

    adapter_layer_names = ("qaa_angles", "qaa_up_proj", "qaa_up_proj_bias")
    other_param_names = ("qaa_circuit", "qaa_scaling", "qaa_train_angles", "qaa_shared", "qaa_parts")

    def __init__(
        self, base_layer: nn.Module, adapter_name: str, config: QAAConfig, module_name: str, **kwargs: Any
    ) -> None:
        """Wrap `base_layer` and make the first adapter."""
        super().__init__(base_layer, adapter_name, config, module_name, **kwargs)
        self.qaa_angles = nn.ParameterDict()
        self.qaa_up_proj = nn.ParameterDict()
        self.qaa_up_proj_bias = nn.ParameterDict()
        self.qaa_circuit: dict[str, Circuit] = {}
        self.qaa_scaling: dict[str, float] = {}
        self.qaa_train_angles: dict[str, bool] = {}
        self.qaa_shared: dict[str, Membership] = {}
        self.qaa_parts: dict[str, FusedParts] = {}
        self.update_layer(adapter_name, config, module_name)

    @classmethod
    def check_module(cls, config: QAAConfig, module: nn.Module, module_name: str) -> None:
        """Raise ConfigError when `n_qubits` or the layout do not fit the module, or it lacks a wire."""
        d_in, d_out = cls.features(module, module_name)
        if (parts := config.parts(module_name)) is not None:
            check_width(parts, d_out, module_name)
        needed = qubits_for(d_in)
        if config.n_qubits is not None and config.n_qubits < needed:
            raise ConfigError(
                f"`n_qubits` must be at least ceil(log2(d_in)) = {needed} for {module_name}, but is "
                f"{config.n_qubits}.\nLeave it unset, or set n_qubits: {needed}."
            )
        # Wires of the user's own that this module's circuit does not have.
        config.circuit(d_in, module_name)

    def update_layer(self, adapter_name: str, config: QAAConfig, module_name: str) -> None:
        """Make the parameters of an adapter."""
        # Also here: "all-linear" is expanded only after the tuner has checked the targets.
        self.check_module(config, self.get_base_layer(), module_name)
        circuit = config.circuit(self.in_features, module_name)
        self.qaa_circuit[adapter_name] = circuit
        self.qaa_scaling[adapter_name] = float(config.scaling)
        self.qaa_train_angles[adapter_name] = config.train_angles
        circuits, rows = config.circuits, self.out_features
        if (parts := config.parts(module_name)) is not None:
            self.qaa_parts[adapter_name] = parts
            circuits, rows = config.circuits * len(parts.parts), parts.rows
        angles = torch.empty(circuit.angle_shape(circuits)).uniform_(-math.pi, math.pi)
        self.qaa_angles[adapter_name] = nn.Parameter(angles)
        columns = config.circuits * circuit.n_observables
        up_proj = torch.zeros(rows, columns)
        bias = torch.zeros(rows)
        if not config.init_weights:
            bound = 1 / math.sqrt(columns)
            up_proj.uniform_(-bound, bound)
            bias.uniform_(-bound, bound)
        self.qaa_up_proj[adapter_name] = nn.Parameter(up_proj)
        if config.up_proj_bias:
            self.qaa_up_proj_bias[adapter_name] = nn.Parameter(bias)
        self.place_adapter(adapter_name, config)

    def share_circuit(self, adapter_name: str, name: str, other: "QAALayer", other_name: str) -> bool:
        """Use the angles of another layer, which reads the same input, instead of own ones.

        Args:
            adapter_name: an adapter of both.
            name: this layer's name in their parent.
            other: the layer that keeps its angles.
            other_name: its name.

        Returns:
            Whether it was done: not where the other has no angles of its own, or another circuit.
        """
        theirs = other.qaa_angles.get(adapter_name)
        mine = self.qaa_angles[adapter_name]
        if (
            theirs is None
            or theirs.shape != mine.shape
            or other.qaa_circuit[adapter_name] != self.qaa_circuit[adapter_name]
            or other.in_features != self.in_features
        ):
            return False
        if adapter_name not in other.qaa_shared:
            shared = SharedCircuit(
                other.qaa_angles, adapter_name, other.qaa_circuit[adapter_name], other_name
            )
            other.qaa_shared[adapter_name] = Membership(shared, other_name)
        circuit = other.qaa_shared[adapter_name].circuit
        circuit.names |= {name}
        self.qaa_shared[adapter_name] = Membership(circuit, name)
        del self.qaa_angles[adapter_name]
        return True

    def angles_of(self, adapter_name: str) -> Tensor:
        """Give the angles of an adapter's circuit, also where they belong to another layer.

        Args:
            adapter_name: the adapter.

        Returns:
            Radians, shape (circuits, depth, rotations, n_qubits).
        """
        if adapter_name in self.qaa_angles:
            return self.qaa_angles[adapter_name]
        return self.qaa_shared[adapter_name].circuit.angles

    def up_of(self, adapter_name: str) -> tuple[Tensor, Tensor | None]:
        """Give W_up and b_up for all values and all outputs, with zeros for what parts do not have.

        Args:
            adapter_name: the adapter.

        Returns:
            Shapes (d_out, circuits * m), circuits the number of those in the angles, and (d_out,), or None.
        """
        _, weight, bias = self._parameters_of(adapter_name)
        if (parts := self.qaa_parts.get(adapter_name)) is not None:
            return parts.spread(weight, bias)
        return weight, bias

    def has_adapter(self, adapter_name: str) -> bool:
        """Whether this layer has a circuit of the adapter."""
        return adapter_name in self.qaa_circuit

    def set_adapter(self, adapter_names: str | list[str], inference_mode: bool = False) -> None:
        """Activate adapters and let them train, but for angles that stay at their start."""
        super().set_adapter(adapter_names, inference_mode=inference_mode)
        self._keep_frozen_angles()

    def set_requires_grad(self, adapter_names: str | Sequence[str], requires_grad: bool = True) -> None:
        """Let adapters train or not, but for angles that stay at their start."""
        super().set_requires_grad(adapter_names, requires_grad)
        self._keep_frozen_angles()

    def _keep_frozen_angles(self) -> None:
        for adapter_name, angles in self.qaa_angles.items():
            if not self.qaa_train_angles[adapter_name]:
                angles.requires_grad_(False)

    def branch(self, x: Tensor, adapter_name: str) -> Tensor:
        """Compute scaling * (W_up z + b_up): x (..., d_in) -> (..., d_out)."""
        dtype = torch.promote_types(x.dtype, self.qaa_up_proj[adapter_name].dtype)
        nothing = x.new_zeros(*x.shape[:-1], self.out_features, dtype=dtype)
        return self.add_branch(nothing, x, adapter_name)

    def add_branch(self, result: Tensor, x: Tensor, adapter_name: str) -> Tensor:
        """Compute result + scaling * (W_up z + b_up) in one pass, in the dtype of `result`."""
        circuit, scaling = self.qaa_circuit[adapter_name], self.qaa_scaling[adapter_name]
        angles, weight, bias = self._parameters_of(adapter_name)
        shared, parts = self.qaa_shared.get(adapter_name), self.qaa_parts.get(adapter_name)
        if parts is not None:
            number = len(parts.parts)
            own: Any = angles.chunk(number) if shared is None else shared.values(x).chunk(number, dim=-1)

            def add(place: int, y: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
                if shared is None:
                    return project(y, x, own[place], w, b, circuit, scaling)
                return project_values(y, own[place], w, b, circuit, scaling)

            return parts.added(result, weight, bias, add)
        if shared is not None:
            angles = shared.circuit.held
        # Before all else: a token's circuit takes less time than handing its values on.
        if (direct := project_directly(result, x, angles, weight, bias, circuit, scaling)) is not None:
            return direct
        if shared is not None:
            return project_values(result, shared.values(x), weight, bias, circuit, scaling)
        return project(result, x, angles, weight, bias, circuit, scaling)

    def _parameters_of(self, adapter_name: str) -> Any:
        """Angles, W_up and b_up, None where there is none; with few calls, which a token feels."""
        modules: Any = self._modules
        angles, weight, bias = modules["qaa_angles"], modules["qaa_up_proj"], modules["qaa_up_proj_bias"]
        # DeepSpeed's ZeRO-3 gathers a parameter that is asked for with [], not with `get`; a replica of
        # torch.nn.DataParallel has its tensors elsewhere.
        a, w, b = angles._parameters, weight._parameters, bias._parameters
        return (
            a[adapter_name] if adapter_name in a else angles.get(adapter_name),
            w[adapter_name] if adapter_name in w else weight.get(adapter_name),
            b[adapter_name] if adapter_name in b else bias.get(adapter_name),
        )


class QAALinear(QAALayer, LinearAdapterLayer):
    """A frozen linear layer with a parametrised quantum circuit beside it."""
