"""The circuits of a QAA adapter, with their angles and up-projections, from its folder or from a model."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from amplitune.adapters.qaa.config import QAAConfig
from amplitune.adapters.qaa.layer import QAALayer
from amplitune.adapters.qaa.shared import siblings_of
from amplitune.errors import ConfigError, near_matches
from amplitune.quantum import Circuit

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
_PEFT_PREFIX = "base_model.model."


@dataclass(frozen=True, eq=False)
class StoredCircuit:
    """What one module's branch computes: s * (W_up z + b_up), z the values of circuits in parallel.

    Args:
        module: the module's name in the base model.
        circuit: the circuit.
        angles: radians, shape (circuits, depth, rotations, n_qubits).
        up_proj: W_up, shape (d_out, circuits * m).
        up_proj_bias: b_up, shape (d_out,); None if the adapter has none.
        scaling: s.
    """

    module: str
    circuit: Circuit
    angles: Tensor
    up_proj: Tensor
    up_proj_bias: Tensor | None
    scaling: float

    def branch(self, z: Tensor) -> Tensor:
        """Project values up, wherever they were measured.

        Args:
            z: values, shape (..., circuits * m).

        Returns:
            s * (W_up z + b_up), in the dtype of `z`, shape (..., d_out).
        """
        bias = None if self.up_proj_bias is None else self.up_proj_bias.to(z.dtype)
        return nn.functional.linear(z, self.up_proj.to(z.dtype), bias) * self.scaling


def is_adapter_folder(path: Path) -> bool:
    """Tell whether a folder holds an adapter.

    Args:
        path: a path.

    Returns:
        True if it is a folder with an adapter_config.json.
    """
    return (path / CONFIG_FILE).is_file()


def stored_circuits(folder: Path | str) -> dict[str, StoredCircuit]:
    """Read the circuits of a saved adapter; its base model is not needed.

    Args:
        folder: what save_pretrained wrote: adapter_config.json and adapter_model.safetensors.

    Returns:
        The circuits by module name, in the order of the names.

    Raises:
        ConfigError: a file is missing or damaged, the adapter is no QAA adapter, or its tensors do not fit
            its config.
    """
    folder = Path(folder)
    config = _config(folder)
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise ConfigError(
            f"`{folder}` must hold {WEIGHTS_FILE} beside {CONFIG_FILE}, but does not. Save the adapter again "
            "with save_pretrained, which writes both."
        )
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ConfigError(f"{path} must be a safetensors file, but cannot be read: {error}.") from error
    found = {}
    for key in sorted(tensors):
        name, _, attribute = key.rpartition(".")
        if attribute in ("qaa_angles", "qaa_up_proj") and name.removeprefix(_PEFT_PREFIX) not in found:
            module = name.removeprefix(_PEFT_PREFIX)
            found[module] = _stored(module, name, config, tensors, path)
    if not found:
        raise ConfigError(
            f"{path} must hold the angles of at least one module, but holds none. Save the adapter again."
        )
    return found


def circuits_of(model: nn.Module, adapter_name: str | None = None) -> dict[str, StoredCircuit]:
    """Collect the circuits of a model with a QAA adapter.

    Args:
        model: the model, as get_peft_model or PeftModel.from_pretrained returns it.
        adapter_name: the adapter; the active one if None.

    Returns:
        The circuits by module name, in the order of the model; tensors share memory with it.

    Raises:
        ConfigError: the model has no such adapter.
    """
    found, known = {}, set()
    for name, layer in model.named_modules():
        if isinstance(layer, QAALayer):
            known |= set(layer.qaa_circuit)
            for adapter in layer.active_adapters if adapter_name is None else [adapter_name]:
                if adapter in layer.qaa_circuit:
                    module = name.removeprefix(_PEFT_PREFIX)
                    up_proj, bias = layer.up_of(adapter)
                    found[module] = StoredCircuit(
                        module=module,
                        circuit=layer.qaa_circuit[adapter],
                        angles=layer.angles_of(adapter).detach(),
                        up_proj=up_proj.detach(),
                        up_proj_bias=None if bias is None else bias.detach(),
                        scaling=layer.qaa_scaling[adapter],
                    )
    if not found:
        asked = "the active adapter" if adapter_name is None else repr(adapter_name)
        raise ConfigError(
            f"`model` must have {asked} as a QAA adapter, but has "
            f"{', '.join(map(repr, sorted(known))) or 'none'}. Give the model that get_peft_model returned."
        )
    return found


def chosen_module(circuits: Mapping[str, StoredCircuit], module: str | None) -> StoredCircuit:
    """Find the module that is meant.

    Args:
        circuits: circuits by module name.
        module: its name or the end of it, after a dot; None if there is one only.

    Returns:
        Its circuit.

    Raises:
        ConfigError: no module, or more than one, is meant.
    """
    names = list(circuits)
    if module is None:
        meant = names
    elif module in circuits:
        meant = [module]
    else:
        meant = [name for name in names if name.endswith(f".{module}")]
    if len(meant) == 1:
        return circuits[meant[0]]
    shown = ", ".join(map(repr, (meant or names)[:4])) + (", ..." if len(meant or names) > 4 else "")
    if module is None:
        found = f"is not given. The adapter has {len(names)}: {shown}. Name one, or the end of its name"
    elif meant:
        found = f"is {module!r}, the end of {len(meant)}: {shown}. Give more of the name"
    else:
        found = f"is {module!r}. {near_matches(module, names)} Give a name or the end of one"
    raise ConfigError(f"`module` must name one module of the adapter, but {found}.")


def _config(folder: Path) -> QAAConfig:
    path = folder / CONFIG_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"`{folder}` must be the folder of an adapter, but has no {CONFIG_FILE}. Name the folder that "
            "save_pretrained wrote."
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} must be a JSON file, but cannot be read: {error}.") from error
    method = values.get("peft_type") if isinstance(values, dict) else None
    if method != "QAA":
        raise ConfigError(
            f"`peft_type` in {path} must be 'QAA', the method that has circuits, but is {method!r}. Name the "
            "folder of a QAA adapter."
        )
    config = QAAConfig.from_pretrained(str(folder))
    assert isinstance(config, QAAConfig)
    return config


def _owner_of_angles(module: str, config: QAAConfig, tensors: Mapping[str, Tensor]) -> str | None:
    """The module, or the one of its siblings, whose angles its circuit has; None where there is none."""
    parent, dot, name = module.rpartition(".")
    siblings = siblings_of(name) if config.share_circuit else ()
    owners = [module, *(f"{parent}{dot}{sibling}" for sibling in siblings)]
    return next((owner for owner in owners if f"{owner}.qaa_angles" in tensors), None)


def _stored(
    module: str, prefix: str, config: QAAConfig, tensors: Mapping[str, Tensor], path: Path
) -> StoredCircuit:
    """One module's tensors, checked against the config."""
    owner = _owner_of_angles(prefix, config, tensors)
    if owner is None:
        raise ConfigError(
            f"{path} must hold the angles of {module}, but does not. The file is damaged: save the adapter "
            "again."
        )
    angles = tensors[f"{owner}.qaa_angles"]
    # The width of the module's input is not stored: the angles tell the qubits.
    circuit = config.circuit(2 ** (angles.shape[-1] if angles.ndim else 1), module)
    up_proj = tensors.get(f"{prefix}.qaa_up_proj")
    bias = tensors.get(f"{prefix}.qaa_up_proj_bias")
    columns = config.circuits * circuit.n_observables
    parts = config.parts(module)
    circuits = config.circuits * (1 if parts is None else len(parts.parts))
    fits = (
        angles.shape == circuit.angle_shape(circuits)
        and up_proj is not None
        and up_proj.ndim == 2
        and up_proj.shape[1] == columns
        and (parts is None or up_proj.shape[0] == parts.rows)
        and (bias is not None) == config.up_proj_bias
        and (bias is None or bias.shape == up_proj.shape[:1])
    )
    if not fits or up_proj is None:
        shapes = {
            name: tuple(value.shape) for name, value in tensors.items() if name.startswith(f"{prefix}.")
        }
        raise ConfigError(
            f"The tensors of {module} in {path} must fit {CONFIG_FILE}, which asks for angles of shape "
            f"{circuit.angle_shape(circuits)} and an up-projection of {columns} columns, but are "
            f"{shapes}. The two files belong to different adapters: save the adapter again."
        )
    if parts is not None:
        up_proj, bias = parts.spread(up_proj, bias)
    return StoredCircuit(
        module=module,
        circuit=circuit,
        angles=angles.to(torch.promote_types(angles.dtype, torch.float32)),
        up_proj=up_proj,
        up_proj_bias=bias,
        scaling=float(config.scaling),
    )
