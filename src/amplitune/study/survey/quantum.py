"""The quantum family: amplitude-embedded circuits beside a weight, and what they are compared with."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from amplitune.study.survey.entry import Entry
from amplitune.study.survey.shapes import Site

ANGLES = "circuits * depth * rotations * n"
UP = "circuits * m * d_out + up_proj_bias * d_out"


def _of_circuit(config: Any, site: Site | None) -> Mapping[str, float]:
    assert site is not None
    circuit = config.circuit(site.d_in, site.name)
    _, depth, rotations, n = circuit.angle_shape()
    return {"n": n, "D": 2**n, "m": circuit.n_observables, "depth": depth, "rotations": rotations}


def _of_control(config: Any, site: Site | None) -> Mapping[str, float]:
    assert site is not None
    n = config.qubits(site.d_in)
    return {"n": n, "D": 2**n, "m": config.columns(site.d_in) / config.circuits}


QAA = Entry(
    "quantum",
    "amplitudes of x through RY and a CNOT ring, Z read out on each wire, projected up",
    time=f"{ANGLES} * D + circuits * m * (D + d_out)",
    memory="d_in",
    stores="x; states are computed again, so depth costs no memory",
    mergeable=False,
    nonlinear=True,
    source="QAA, arXiv 2509.16244",
    each=f"{ANGLES} + {UP}",
    names=_of_circuit,
    remark="n = ceil(log2 d_in) qubits, D = 2^n, m values read out; simulated classically",
)

VARIANTS: dict[str, dict[str, Any]] = {
    "qaa-zz": {"readout": "Z+ZZ"},
    "qaa-deep": {"depth": 4},
    "qaa-rot": {"rotation": "Rot"},
    "qaa-parallel": {"circuits": 4},
    "qaa-reuploading": {"depth": 2, "reuploading": True},
    "qaa-probabilities": {"readout": "probabilities"},
    "qaa-interferometric": {"readout": "interferometric", "norm": "restore"},
}
"""Rows of the survey beside the paper's circuit: name to settings of QAAConfig."""

QUANTUM: dict[str, Entry] = {
    "qaa": QAA,
    "qaa-zz": replace(QAA, mechanism="the paper's circuit, products of pairs of wires read out too"),
    "qaa-deep": replace(QAA, mechanism="four layers of the paper's circuit"),
    "qaa-rot": replace(
        QAA, mechanism="the paper's circuit with any rotation of each wire: complex amplitudes"
    ),
    "qaa-parallel": replace(QAA, mechanism="four circuits on the same x"),
    "qaa-reuploading": replace(QAA, mechanism="two layers with a reflection about x between them"),
    "qaa-probabilities": replace(
        QAA,
        mechanism="probabilities of all basis states read out",
        time=f"{ANGLES} * D + circuits * m * (1 + d_out)",
    ),
    "qaa-interferometric": replace(
        QAA,
        mechanism="an ancilla interferes the state with a fixed one; x's norm restored",
        mergeable=True,
        nonlinear=False,
        remark="merges where the module has a bias, or with up_proj_bias: false",
    ),
}

CONTROLS: dict[str, Entry] = {
    "qaa-frozen": replace(
        QAA, group="controls", mechanism="QAA with its angles frozen at their random start", each=UP
    ),
    "qaa-no-entangler": replace(QAA, group="controls", mechanism="QAA without entangling gates"),
    "qaa-projection": replace(
        QAA,
        group="controls",
        mechanism="a fixed random projection of QAA's width, projected up",
        time="circuits * m * (d_in + d_out)",
        memory="circuits * m",
        stores="the projected x",
        mergeable=True,
        nonlinear=False,
        source="amplitune's control of QAA",
        each=UP,
        names=_of_control,
        remark="merges where the module has a bias, or with up_proj_bias: false",
    ),
    "qaa-squares": replace(
        QAA,
        group="controls",
        mechanism="the squares of that projection",
        time="circuits * m * (d_in + d_out)",
        memory="d_in + 3 * circuits * m",
        stores="x, the projected x, its squares and what they are divided by",
        source="amplitune's control of QAA",
        each=UP,
        names=_of_control,
        remark="",
    ),
    "qaa-givens": replace(
        QAA,
        group="controls",
        mechanism="the classical twin: learned Givens rotations with as many angles, then squares",
        time=f"{ANGLES} * D + circuits * m * (D + d_out)",
        memory="d_in + circuits * (D + 2 * m)",
        stores="x, the mixed state, from which levels are undone, the values",
        source="amplitune's control of QAA",
        each=f"{ANGLES} + {UP}",
        names=_of_control,
        remark="",
    ),
}
