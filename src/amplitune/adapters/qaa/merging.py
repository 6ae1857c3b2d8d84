"""Merging a QAA adapter into its base layer, for the readout that is linear in the input."""

from torch import Tensor, nn

from amplitune.adapters.layers.merging import MergeableLayer
from amplitune.errors import NotMergeableError
from amplitune.quantum import Circuit
from amplitune.quantum.operators import operator_parameters
from amplitune.quantum.precision import full_precision
from amplitune.quantum.readout import INTERFEROMETRIC

NOT_MERGEABLE = (
    "A QAA adapter must stay beside its base layer; it cannot be merged. Its values z are {}, so no weight "
    "matrix W0 + dW computes W0 x + s (W_up z + b_up). Keep the adapter: save_pretrained writes it alone, "
    "unload() gives the base model back. If the weights have to be merged, train with readout: "
    "'interferometric' and norm: 'restore', whose values are linear in x, or with SoRAConfig or peft's "
    "LoraConfig instead."
)


class MergeableQAALayer(MergeableLayer):
    """The merging of a QAA layer.

    With readout "interferometric" and norm "restore", z = f x: a row f_k for each value, of the angles alone.

        dW = s W_up f,   db = s b_up

    All other readouts and norms are not linear in x, and no weight is equivalent to them.
    """

    qaa_angles: nn.ParameterDict
    qaa_up_proj: nn.ParameterDict
    qaa_up_proj_bias: nn.ParameterDict
    qaa_circuit: dict[str, Circuit]
    qaa_scaling: dict[str, float]

    def angles_of(self, adapter_name: str) -> Tensor:
        """Give the angles of an adapter's circuit, shape (circuits, depth, rotations, n_qubits)."""
        angles: Tensor = self.qaa_angles[adapter_name]
        return angles

    def up_of(self, adapter_name: str) -> tuple[Tensor, Tensor | None]:
        """Give W_up, shape (d_out, circuits * m), and b_up, shape (d_out,), or None."""
        raise NotImplementedError

    def check_mergeable(self, adapter_name: str) -> None:
        """Raise NotMergeableError unless a weight and a bias of the base layer compute the same.

        Args:
            adapter_name: an adapter; one that this layer does not have is passed over.
        """
        circuit = self.qaa_circuit.get(adapter_name)
        if circuit is None:
            return
        linear, restored = circuit.readout == INTERFEROMETRIC, circuit.norm == "restore"
        if not (linear and restored):
            nature = "divided by |x|" if linear else "quadratic in the input x and divided by |x|"
            raise NotMergeableError(NOT_MERGEABLE.format(nature if linear or restored else f"{nature}^2"))
        base = self.get_base_layer()
        if adapter_name in self.qaa_up_proj_bias and getattr(base, "bias", None) is None:
            raise NotMergeableError(
                f"`up_proj_bias` must be false to merge a QAA adapter into a {type(base).__name__} "
                f"({self.in_features} to {self.out_features}) without a bias, which cannot take b_up up, but "
                "is true. Keep the adapter, or train it with up_proj_bias: false."
            )
        super().check_mergeable(adapter_name)

    def get_delta_weight(self, adapter_name: str) -> Tensor:
        """Compute what the adapter adds to the base weight.

            s W_up f

        Args:
            adapter_name: the adapter.

        Returns:
            In the layout of the base weight: (d_out, d_in), for Conv1D (d_in, d_out); float32 at least.

        Raises:
            NotMergeableError: no weight matrix computes the branch.
        """
        self.check_mergeable(adapter_name)
        up_proj, _ = self.up_of(adapter_name)
        with full_precision(up_proj.device):
            f = operator_parameters(up_proj, self.angles_of(adapter_name), self.qaa_circuit[adapter_name])
            delta = (up_proj.to(f.dtype) @ f[:, : self.in_features]) * self.qaa_scaling[adapter_name]
        return delta.T if self.is_transposed else delta

    def get_delta_bias(self, adapter_name: str) -> Tensor | None:
        """Compute s b_up, shape (d_out,); None where the adapter has no b_up."""
        _, bias = self.up_of(adapter_name)
        return None if bias is None else bias * self.qaa_scaling[adapter_name]
