"""The circuit that a command is about: of an adapter's folder, a file of fields, or the command line."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from amplitune.adapters.qaa.stored_circuit import (
    StoredCircuit,
    chosen_module,
    is_adapter_folder,
    stored_circuits,
)
from amplitune.errors import ConfigError, check_integer
from amplitune.quantum import Circuit, qubits_for


@dataclass(frozen=True, eq=False)
class CircuitSource:
    """A circuit and where it is from.

    Args:
        title: what it is the circuit of.
        circuit: the circuit.
        circuits: circuits in parallel on the same input.
        angles: radians, shape (circuits, depth, rotations, n_qubits); None if not given, or if they differ
            between the modules that are meant.
        modules: names of the modules of an adapter that have this circuit; empty for a described circuit.
    """

    title: str
    circuit: Circuit
    circuits: int = 1
    angles: Tensor | None = None
    modules: tuple[str, ...] = ()

    def with_angles(self, seed: int) -> "CircuitSource":
        """Fill in angles where there are none, drawn as a fresh adapter draws them.

        Args:
            seed: seed of the generator.

        Returns:
            The source, with angles uniform in [-pi, pi) in float64 if it had none.
        """
        if self.angles is not None:
            return self
        uniform = torch.rand(
            self.circuit.angle_shape(self.circuits),
            generator=torch.Generator().manual_seed(seed),
            dtype=torch.float64,
        )
        return replace(
            self, angles=(2 * uniform - 1) * torch.pi, title=f"{self.title}, angles of seed {seed}"
        )


def find_circuit(
    arguments: Sequence[str], module: str | None = None, features: int | None = None, one_module: bool = False
) -> CircuitSource:
    """Find the circuit that a command line names.

    Args:
        arguments: an adapter's folder; or a YAML or JSON file of circuit fields, and key=value words that
            override it; or such words alone. Beside the fields of `Circuit.from_dict` there are `circuits`
            and `angles`, nested lists in radians.
        module: module of the adapter, or the end of its name.
        features: width of the encoded rows; gives `n_qubits` where it is not named.
        one_module: whether one module must be meant; otherwise modules with the same circuit may share it.

    Returns:
        The source.

    Raises:
        ConfigError: the source cannot be read, a field is wrong, or no single circuit is meant.
    """
    words = list(arguments)
    path = Path(words.pop(0)) if words and "=" not in words[0] else None
    if path is not None and is_adapter_folder(path):
        if words:
            raise ConfigError(
                f"An adapter's circuit must stay as it was trained, but {words[0]!r} would change it. Leave "
                "the word out, or describe another circuit without naming a folder."
            )
        return _of_adapter(stored_circuits(path), str(path), module, one_module)
    if module is not None:
        raise ConfigError(
            f"`module` must not be given for a described circuit, but is {module!r}. Name an adapter's "
            "folder, or leave --module out."
        )
    values = {} if path is None else _fields(path)
    for word in words:
        key, separator, text = word.partition("=")
        if not separator or not key:
            raise ConfigError(f"A circuit field must have the form key=value, but is {word!r}.")
        values[key] = _yaml(text, word)
    if not values and features is None:
        raise ConfigError(
            "A circuit must be given, but is missing. Name an adapter's folder, a YAML or JSON file of "
            "circuit fields, or write fields such as n_qubits=4 depth=2; --features alone is the paper's."
        )
    return _described(values, features, "a described circuit" if path is None else str(path))


def read_row(path: Path) -> Tensor:
    """Read one row of features.

    Args:
        path: a .npy file of one dimension, or a JSON list of numbers.

    Returns:
        float64, shape (features,).

    Raises:
        ConfigError: the file is missing or holds something else.
    """
    return _read_array(path, 1, "a JSON list of numbers, or a .npy file of one dimension", "one row")


def read_rows(path: Path) -> Tensor:
    """Read rows of features.

    Args:
        path: a .npy file of two dimensions, or a JSON list of equally long lists of numbers.

    Returns:
        float64, shape (rows, features).

    Raises:
        ConfigError: the file is missing or holds something else.
    """
    return _read_array(path, 2, "a JSON list of lists of numbers, or a .npy file of two dimensions", "rows")


def _read_array(path: Path, dimensions: int, wanted: str, what: str) -> Tensor:
    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            values = np.asarray(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ConfigError(f"`input` must be {wanted}, but {path} cannot be read as one: {error}.") from error
    if values.ndim != dimensions or values.size == 0 or values.dtype.kind not in "iuf":
        raise ConfigError(
            f"`input` must be {wanted}, but {path} holds an array of shape {values.shape} and type "
            f"{values.dtype}. Give {what} of the layer's input."
        )
    return torch.from_numpy(values.astype(np.float64))


def _of_adapter(
    stored: dict[str, StoredCircuit], folder: str, module: str | None, one_module: bool
) -> CircuitSource:
    alike = len({entry.circuit for entry in stored.values()}) == 1
    if module is None and alike and len(stored) > 1 and not one_module:
        first = next(iter(stored.values()))
        return CircuitSource(
            f"{len(stored)} modules of {folder}",
            first.circuit,
            circuits=first.angles.shape[0],
            modules=tuple(stored),
        )
    entry = chosen_module(stored, module)
    return CircuitSource(
        f"{entry.module} of {folder}", entry.circuit, entry.angles.shape[0], entry.angles, (entry.module,)
    )


def _described(values: dict[str, Any], features: int | None, title: str) -> CircuitSource:
    values = dict(values)
    angles = values.pop("angles", None)
    circuits = values.pop("circuits", None)
    if circuits is not None:
        check_integer("circuits", circuits, 1, "Give the number in parallel.")
    if features is not None and "n_qubits" not in values:
        values["n_qubits"] = qubits_for(features)
    circuit = Circuit.from_dict(values)
    if angles is None:
        return CircuitSource(title, circuit, circuits or 1)
    try:
        given = torch.tensor(angles, dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"`angles` must be nested lists of numbers, but are not: {error}.") from error
    given = given[None] if given.ndim == 3 else given
    circuit.check_angles(given)
    if circuits not in (None, given.shape[0]):
        raise ConfigError(
            f"`circuits` must be {given.shape[0]}, as `angles` has them, but is {circuits}. Leave it out."
        )
    return CircuitSource(title, circuit, given.shape[0], given)


def _fields(path: Path) -> dict[str, Any]:
    if not path.is_file():
        found = "a folder without adapter_config.json" if path.is_dir() else "not there"
        raise ConfigError(
            f"The circuit must be an adapter's folder or a YAML or JSON file of circuit fields, but {path} "
            f"is {found}. Check the path."
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    values = _yaml(text, str(path))
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path} must hold a mapping of circuit fields to values, but holds {type(values).__name__}."
        )
    return {str(key): value for key, value in values.items()}


def _yaml(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is not valid YAML: {error}") from error
