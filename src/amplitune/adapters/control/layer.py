"""The CONTROL branch of one linear layer."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from amplitune.adapters.control import features
from amplitune.adapters.control.config import ControlConfig
from amplitune.adapters.control.draws import balanced_signs, generator_for, orthonormal_rows, random_orders
from amplitune.adapters.layers.linear_layer import LinearAdapterLayer
from amplitune.adapters.layers.merging import MergeableLayer
from amplitune.errors import ConfigError, NotMergeableError
from amplitune.quantum import qubits_for
from amplitune.quantum.encoding import flattened
from amplitune.quantum.precision import compute_dtype, full_precision


class ControlLinear(MergeableLayer, LinearAdapterLayer):
    """A frozen linear layer with QAA's branch beside it, but no circuit in it.

        y = W0 x (+ b0) + scaling * (W_up f(x) + b_up)

    Parameters of an adapter: `control_up_proj` (d_out, columns) unless the features are "bias",
    `control_up_proj_bias` (d_out,) and, for "givens", `control_angles` of the shape
    (circuits, depth, rotations, n_qubits).
    W_up and b_up start at zero and angles uniform in [-pi, pi), as QAA's. These angles are classical weights:
    no circuit has them, so `count_parameters` counts them as `classical`, and `angles` stays the number of
    angles of circuits.

    What is random and fixed is neither a parameter nor saved: it is drawn from `projection_seed` and the
    module's name when it is first needed.
    """

    adapter_layer_names = ("control_up_proj", "control_up_proj_bias", "control_angles")
    other_param_names = ("control_config", "control_module", "control_fixed")

    def __init__(
        self,
        base_layer: nn.Module,
        adapter_name: str,
        config: ControlConfig,
        module_name: str,
        **kwargs: Any,
    ) -> None:
        """Wrap `base_layer` and make the first adapter."""
        super().__init__(base_layer, adapter_name, config, module_name, **kwargs)
        self.control_up_proj = nn.ParameterDict()
        self.control_up_proj_bias = nn.ParameterDict()
        self.control_angles = nn.ParameterDict()
        self.control_config: dict[str, ControlConfig] = {}
        self.control_module: dict[str, str] = {}
        self.control_fixed: dict[str, tuple[Tensor, ...]] = {}
        self.update_layer(adapter_name, config, module_name)

    @classmethod
    def check_module(cls, config: ControlConfig, module: nn.Module, module_name: str) -> None:
        """Raise ConfigError when the module's input does not fit into `n_qubits`."""
        d_in, _ = cls.features(module, module_name)
        needed = qubits_for(d_in)
        if config.n_qubits is not None and config.n_qubits < needed:
            raise ConfigError(
                f"`n_qubits` must be at least ceil(log2(d_in)) = {needed} for {module_name}, but is "
                f"{config.n_qubits}.\nLeave it unset, or set n_qubits: {needed}."
            )

    def update_layer(self, adapter_name: str, config: ControlConfig, module_name: str) -> None:
        """Make the parameters of an adapter."""
        # Also here: "all-linear" is expanded only after the tuner has checked the targets.
        self.check_module(config, self.get_base_layer(), module_name)
        self.control_config[adapter_name] = config
        self.control_module[adapter_name] = module_name
        self.control_fixed.pop(adapter_name, None)
        columns = config.columns(self.in_features)
        up_proj = torch.zeros(self.out_features, columns)
        bias = torch.zeros(self.out_features)
        if not config.init_weights:
            bound = 1 / math.sqrt(max(1, columns))
            up_proj.uniform_(-bound, bound)
            bias.uniform_(-bound, bound)
        if columns:
            self.control_up_proj[adapter_name] = nn.Parameter(up_proj)
        if config.up_proj_bias:
            self.control_up_proj_bias[adapter_name] = nn.Parameter(bias)
        if config.features == "givens":
            shape = (config.circuits, config.depth, config.rotations, config.qubits(self.in_features))
            angles = torch.empty(shape).uniform_(-math.pi, math.pi)
            self.control_angles[adapter_name] = nn.Parameter(angles)
        self.place_adapter(adapter_name, config)

    def branch(self, x: Tensor, adapter_name: str) -> Tensor:
        """Compute scaling * (W_up f(x) + b_up): x (..., d_in) -> (..., d_out)."""
        scaling = float(self.control_config[adapter_name].scaling)
        bias = self.control_up_proj_bias.get(adapter_name)
        if adapter_name not in self.control_up_proj:
            assert bias is not None
            return (scaling * bias).expand(*x.shape[:-1], self.out_features)
        up_proj = self.control_up_proj[adapter_name]
        dtype = compute_dtype(x, up_proj)
        with full_precision(x.device):
            values = self._features(flattened(x), adapter_name, dtype)
            bias = None if bias is None else bias.to(dtype)
            up = nn.functional.linear(values, up_proj.to(dtype), bias) * scaling
        return up.reshape(*x.shape[:-1], self.out_features)

    def _features(self, rows: Tensor, adapter_name: str, dtype: torch.dtype) -> Tensor:
        """Compute f(x): rows (tokens, d_in) -> (tokens, columns)."""
        config = self.control_config[adapter_name]
        fixed = self._fixed(adapter_name, rows.device, dtype)
        keep_norm = config.norm == "restore"
        if config.features == "projection":
            return features.projection(rows, fixed[0])
        if config.features == "squares":
            qubits = config.qubits(self.in_features)
            return features.squares(rows, fixed[0], qubits, keep_norm=keep_norm)
        angles = self.control_angles[adapter_name].to(dtype).flatten(1)
        return features.givens(rows, angles, *fixed, keep_norm=keep_norm)

    # Tensors made in inference mode could not be used in training afterwards.
    @torch.inference_mode(False)
    def _fixed(self, adapter_name: str, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """What is random and fixed: (P,) or (orders, signs), for the functions of `features`."""
        found = self.control_fixed.get(adapter_name)
        if found is None or found[-1].device != device or found[-1].dtype != dtype:
            drawn = self._drawn(adapter_name)
            found = tuple(
                tensor.to(device, dtype if tensor.is_floating_point() else None) for tensor in drawn
            )
            self.control_fixed[adapter_name] = found
        return found

    def _drawn(self, adapter_name: str) -> tuple[Tensor, ...]:
        config = self.control_config[adapter_name]
        generator = generator_for(config.projection_seed, self.control_module[adapter_name])
        columns = config.columns(self.in_features)
        if config.features != "givens":
            return (orthonormal_rows(columns, self.in_features, generator),)
        n, circuits = config.qubits(self.in_features), config.circuits
        orders = random_orders(circuits * config.depth * config.rotations * n, 2**n, generator)
        signs = balanced_signs(columns, 2**n, generator)
        return orders.reshape(circuits, -1, 2**n), signs.reshape(circuits, -1, 2**n)

    def get_delta_weight(self, adapter_name: str) -> Tensor:
        """Compute what the adapter adds to the base weight.

            scaling * W_up P;  0 for "bias"

        Args:
            adapter_name: the adapter.

        Returns:
            In the layout of the base weight: (d_out, d_in), for Conv1D (d_in, d_out).

        Raises:
            NotMergeableError: no weight matrix computes the branch.
        """
        self.check_mergeable(adapter_name)
        weight = self.get_base_weight()
        if adapter_name not in self.control_up_proj:
            return torch.zeros_like(weight)
        up_proj = self.control_up_proj[adapter_name]
        (p,) = self._fixed(adapter_name, up_proj.device, up_proj.dtype)
        delta = (up_proj @ p) * float(self.control_config[adapter_name].scaling)
        return delta.T if self.is_transposed else delta

    def get_delta_bias(self, adapter_name: str) -> Tensor | None:
        """Compute scaling * b_up, shape (d_out,); None where the adapter has no b_up."""
        bias = self.control_up_proj_bias.get(adapter_name)
        return None if bias is None else bias * float(self.control_config[adapter_name].scaling)

    def check_mergeable(self, adapter_name: str) -> None:
        """Raise NotMergeableError unless a weight and a bias of the base layer compute the same.

        Args:
            adapter_name: an adapter; one that this layer does not have is passed over.
        """
        if not self.has_adapter(adapter_name):
            return
        config = self.control_config[adapter_name]
        if config.features in ("squares", "givens"):
            raise NotMergeableError(
                f"A CONTROL adapter with features: {config.features!r} must stay beside its base layer; it "
                "cannot be merged. Its features are quadratic in the input x and divided by |x|^2, so no "
                "weight matrix computes the sum. Keep the adapter: save_pretrained writes it alone, unload() "
                "gives the base model back. Features 'projection' can be merged."
            )
        if config.up_proj_bias and self.get_base_layer().bias is None:
            raise NotMergeableError(
                f"`up_proj_bias` must be false to merge into {self.control_module[adapter_name]}, which has "
                "no bias to take b_up up, but is true. Keep the adapter, or train it with "
                "up_proj_bias: false."
            )
        super().check_mergeable(adapter_name)
