"""CONTROL's configuration: its widths, and what wrong or idle values say."""

from typing import Any

import pytest

from amplitune import ControlConfig, QAAConfig
from amplitune.errors import ConfigError
from amplitune.quantum import Circuit


@pytest.mark.parametrize("readout", ["Z", "Z+ZZ", "XYZ", "probabilities"])
@pytest.mark.parametrize("n_qubits", [None, 7])
def test_a_named_width_is_that_of_the_readout(readout: str, n_qubits: int | None) -> None:
    for d_in in (1, 2, 24, 33):
        qaa = QAAConfig(readout=readout, n_qubits=n_qubits, circuits=3)
        config = ControlConfig(features="squares", width=readout, n_qubits=n_qubits, circuits=3)
        assert config.columns(d_in) == 3 * qaa.circuit(d_in).n_observables


def test_the_width_of_the_z_readout_is_the_default() -> None:
    for features in ("projection", "squares", "givens"):
        assert ControlConfig(features=features).columns(2048) == Circuit(11).n_observables == 11
    assert ControlConfig(width=30).columns(24) == 30
    assert ControlConfig(features="bias").columns(24) == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"features": "square"}, "`features` must be one of .* Did you mean 'squares'"),
        ({"features": None}, "`features` must be one of"),
        ({"width": "ZZ"}, "`width` must be one of 'Z', 'Z\\+ZZ', 'XYZ', 'probabilities', but is 'ZZ'"),
        ({"width": 0}, "`width` must be an integer of at least 1, but is 0"),
        ({"n_qubits": 0}, "`n_qubits` must be an integer of at least 1"),
        ({"circuits": 0}, "`circuits` must be an integer of at least 1"),
        ({"features": "givens", "depth": 0}, "`depth` must be an integer of at least 1"),
        ({"features": "givens", "rotations": 1.5}, "`rotations` must be an integer of at least 1"),
        ({"features": "givens", "norm": "keep"}, "`norm` must be one of 'drop', 'restore'"),
        ({"projection_seed": -1}, "`projection_seed` must be an integer of at least 0"),
        ({"scaling": "big"}, "`scaling` must be a number, but is 'big'"),
        ({"depth": 2}, "`depth` must be left unset with features: 'projection'.* but is 2"),
        ({"norm": "restore"}, "`norm` must be left unset with features: 'projection'"),
        ({"features": "squares", "rotations": 2}, "`rotations` must be left unset with features: 'squares'"),
        ({"features": "bias", "width": 4}, "`width` must be left unset with features: 'bias'"),
        ({"features": "bias", "up_proj_bias": False}, "`up_proj_bias` must be true with features: 'bias'"),
    ],
)
def test_a_wrong_or_idle_value_is_an_error_before_there_is_a_model(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        ControlConfig(**fields)
