"""The quantum family: amplitude-embedded circuits beside a weight, and what they are compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from amplitune.adapters.qaa.shared import siblings_of
from amplitune.quantum.readout import INTERFEROMETRIC, PROBABILITIES
from amplitune.study.survey.entry import Entry
from amplitune.study.survey.shapes import Site

ANGLES = "circuits * depth * rotations * n"
UP = "circuits * m * d_out + up_proj_bias * d_out"
MERGES_WITH_BIAS = "merges where the module has a bias, or with up_proj_bias: false"


def _of_circuit(lenders: Mapping[str, str], config: Any, site: Site | None) -> Mapping[str, float]:
    """Give the names of a module; `lenders`: module without a circuit of its own -> whose it uses."""
    assert site is not None
    circuit = config.circuit(site.d_in, site.name)
    _, depth, rotations, n = circuit.angle_shape()
    parts = config.parts(site.name)
    return {
        "n": n,
        "D": 2**n,
        "m": circuit.n_observables,
        "depth": depth,
        "rotations": rotations,
        "own": int(site.name not in lenders),
        "lends": int(site.name in lenders.values()),
        "parts": 1 if parts is None else len(parts.parts),
        "rows": site.d_out if parts is None else parts.rows,
    }


def _of_control(config: Any, site: Site | None) -> Mapping[str, float]:
    assert site is not None
    n = config.qubits(site.d_in)
    return {"n": n, "D": 2**n, "m": config.columns(site.d_in) / config.circuits}


def _with_settings(config: Any, sites: Sequence[Site]) -> Mapping[str, Any]:
    """Write QAA's formulas with what its settings add to them."""
    circuits = [config.circuit(site.d_in, site.name) for site in sites]
    linear = [circuit.readout == INTERFEROMETRIC and circuit.norm == "restore" for circuit in circuits]
    read = "1" if all(circuit.readout == PROBABILITIES for circuit in circuits) else "D"
    shared, fused = config.share_circuit, bool(config.fused_parts)
    own, parts = "own * " if shared else "", "parts * " if fused else ""
    angles = f"{own}{parts}{ANGLES}"
    reading = f"circuits * m * ({own}{parts}{read} + {'rows' if fused else 'd_out'})"
    up = UP.replace("d_out", "rows") if fused else UP
    changed: dict[str, Any] = {
        "each": f"{angles} + {up}" if config.train_angles else up,
        "time": f"{angles} * D + {reading}",
        "mergeable": all(linear),
        "nonlinear": not all(linear),
        "names": partial(_of_circuit, _lenders(config, sites) if shared else {}),
    }
    remarks = [MERGES_WITH_BIAS if all(linear) else QAA.remark]
    if shared:
        changed["memory"] = f"own * d_in + lends * {parts}circuits * m"
        changed["stores"] = "x and the values, once for the modules that share a circuit"
        remarks.append("own: 0 in a module that uses the circuit of another, else 1; lends: 1 in that other")
    if fused:
        remarks.append("parts, rows: how many parts of the module have a circuit, and their outputs")
    return changed | {"remark": "; ".join(remarks)}


def _lenders(config: Any, sites: Sequence[Site]) -> dict[str, str]:
    """Map each module that shares a circuit to the first module of the same input, which has it."""
    owners: dict[str, Any] = {}
    found = {}
    for site in sites:
        if site.groups is not None:
            continue
        parent, dot, name = site.name.rpartition(".")
        parts = config.parts(site.name)
        circuit = config.circuit(site.d_in, site.name), 1 if parts is None else len(parts.parts), site.d_in
        siblings = [f"{parent}{dot}{other}" for other in siblings_of(name)]
        lender = next((other for other in siblings if owners.get(other) == circuit), None)
        if lender is None:
            owners[site.name] = circuit
        else:
            found[site.name] = lender
    return found


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
    names=partial(_of_circuit, {}),
    remark="n = ceil(log2 d_in) qubits, D = 2^n, m values read out; simulated classically",
    settings=_with_settings,
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
        remark=MERGES_WITH_BIAS,
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
        settings=None,
        remark=MERGES_WITH_BIAS,
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
        settings=None,
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
        settings=None,
        remark="",
    ),
}
