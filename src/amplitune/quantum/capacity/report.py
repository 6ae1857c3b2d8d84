"""The capacity report: every measure of one circuit, as values or as text."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from torch import Tensor

from amplitune.errors import ConfigError, check_integer
from amplitune.quantum.capacity.concentration import Concentration, concentration
from amplitune.quantum.capacity.draws import Seed, checked_inputs, random_angles, seeded
from amplitune.quantum.capacity.effective_dimension import dimension_of
from amplitune.quantum.capacity.entanglement import EntanglingCapability, entangling_capability
from amplitune.quantum.capacity.estimate import Estimate
from amplitune.quantum.capacity.expressibility import Expressibility, expressibility
from amplitune.quantum.capacity.fisher import FisherSpectrum, fisher_matrices, spectrum_of
from amplitune.quantum.capacity.gradient_variance import gradient_variance
from amplitune.quantum.capacity.jacobian_rank import JacobianRank, jacobian_rank
from amplitune.quantum.capacity.plateau import Plateau, plateau_slope
from amplitune.quantum.capacity.readout_spread import ReadoutSpread, readout_spread
from amplitune.quantum.circuit import Circuit

#: The number of data that the effective dimension is quoted for.
DATA = 10_000

#: The qubits of the plateau's slope: up to the circuit's own, and no more than these, which take seconds.
PLATEAU_QUBITS = range(2, 9)

Measure = TypeVar("Measure")


@dataclass(frozen=True)
class CapacityReport:
    """The capacity measures of one circuit; what could not be measured is None, `left_out` says why.

    Args:
        circuit: the circuit, as `Circuit.to_dict` describes it.
        angles: number of angles of one circuit.
        inputs: number of input rows; 0 means |0...0>.
        expressibility: against the random states that fit the circuit, in bins of equal width and of equal
            probability; for a real circuit also against complex states.
        entanglement: Meyer and Wallach's Q.
        gradient_variance: mean over observables and angles.
        plateau: gradient variance of circuits of the same family from 2 qubits on, started at |0...0>.
        fisher: spectrum of the Fisher information.
        effective_dimension: for 10,000 data and gamma = 1.
        jacobian: rank of the readouts' quadratic forms.
        concentration: of the inputs.
        readout_spread: of the inputs.
        left_out: measure by reason.
    """

    circuit: dict[str, Any]
    angles: int
    inputs: int
    expressibility: tuple[Expressibility, ...]
    entanglement: EntanglingCapability
    gradient_variance: Estimate
    plateau: Plateau | None
    fisher: FisherSpectrum | None
    effective_dimension: Estimate | None
    jacobian: JacobianRank | None
    concentration: Concentration | None
    readout_spread: ReadoutSpread | None
    left_out: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Describe the report in plain values, for JSON.

        Returns:
            Its fields, each measure a mapping of its own.
        """
        return asdict(self)

    def text(self) -> str:
        """Write the report for a reader.

        Returns:
            Lines, the last without a line break.
        """
        start = f"{self.inputs} encoded rows" if self.inputs else "|0...0>"
        described = ", ".join(f"{key} {value}" for key, value in self.circuit.items())
        lines = [f"circuit: {described}", f"angles: {self.angles} uniform on [0, 2 pi), started from {start}"]
        for result in self.expressibility:
            lines.append(
                f"expressibility against {result.reference} random states, {result.bins} bins of equal "
                f"{result.binning}: {result.divergence} nats "
                f"(with bias: {result.plug_in:.4g}, random states then give {result.haar})"
            )
        q = self.entanglement
        lines.append(f"Meyer-Wallach Q: {q.output} ({q.reference} random states: {q.haar:.4g})")
        if self.inputs:
            ratio = "" if q.ratio is None else f", ratio {q.ratio}"
            lines.append(f"  of the encoded inputs: {q.input}; difference {q.difference}{ratio}")
        lines.append(f"gradient variance, mean over readouts and angles: {self.gradient_variance}")
        if self.plateau:
            n = self.plateau.n_qubits
            lines.append(f"  log2 of it against n = {n[0]} to {n[-1]}: slope {self.plateau.slope} per qubit")
        if self.fisher and self.effective_dimension:
            lines += [
                f"Fisher information: trace {self.fisher.trace}, rank {self.fisher.rank}, "
                f"largest eigenvalue's share {self.fisher.first_share}",
                f"effective dimension at {DATA} data: {self.effective_dimension} of {self.angles}",
            ]
        if self.jacobian:
            rank = self.jacobian
            gap = "none dropped" if rank.largest_dropped is None else f"gap {rank.gap:.1e}"
            lines.append(
                f"rank of the readouts' {rank.part} forms: {rank.rank} of {rank.angles} angles, "
                f"{rank.redundant} redundant ({gap}; {rank.agreeing} of {rank.draws} draws agree)"
            )
        if self.concentration and self.readout_spread:
            for name, close in (
                ("inputs", self.concentration.rows),
                ("normal rows", self.concentration.gaussian),
            ):
                lines.append(
                    f"{name}: pairwise fidelity {close.fidelity}, along the mean {close.mean_direction}, "
                    f"effective rank {close.effective_rank}"
                )
            lines.append(f"readout spread over normal rows' spread: {self.readout_spread.ratio}")
        lines += [f"left out: {measure}: {reason}" for measure, reason in self.left_out.items()]
        return "\n".join(lines)


def capacity_report(
    circuit: Circuit, *, draws: int = 500, inputs: Tensor | None = None, seed: Seed = 0
) -> CapacityReport:
    """Measure everything about one circuit.

    Args:
        circuit: the circuit.
        draws: sets of angles for entanglement and gradients; ten times as many pairs for expressibility, a
            fifth as many sets for Fisher information, a tenth for readout spread.
        inputs: rows that the circuit will meet, shape (features,) or (rows, features); None for |0...0>,
            which leaves concentration out.
        seed: a seed or a generator.

    Returns:
        The report.

    Raises:
        ConfigError: an argument is out of range or does not fit the circuit.

    Example:
        >>> report = capacity_report(Circuit(2), draws=20)
        >>> print(report.text().splitlines()[-3])
        rank of the readouts' real forms: 2 of 2 angles, 0 redundant (none dropped; 3 of 3 draws agree)
    """
    check_integer("draws", draws, 20)
    rows = None if inputs is None else checked_inputs(inputs, circuit)
    generator = seeded(seed)
    left_out: dict[str, str] = {}

    def attempt(measure: str, make: Callable[[], Measure]) -> Measure | None:
        try:
            return make()
        except ConfigError as error:
            left_out[measure] = str(error)
            return None

    kinds: list[tuple[str | None, str]] = [(None, "width"), (None, "probability")]
    if circuit.is_real:
        kinds.append(("complex", "width"))
    expressed = tuple(
        expressibility(
            circuit, pairs=10 * draws, reference=reference, binning=binning, inputs=rows, seed=generator
        )
        for reference, binning in kinds
    )
    entanglement = entangling_capability(circuit, draws=draws, inputs=rows, seed=generator)
    variance = gradient_variance(circuit, draws=draws, inputs=rows, seed=generator)
    sizes = [n for n in PLATEAU_QUBITS if n <= circuit.n_qubits]
    plateau = attempt(
        "plateau",
        lambda: plateau_slope(lambda n: replace(circuit, n_qubits=n), sizes, draws=draws, seed=generator),
    )
    angles = random_angles(circuit, draws // 5, generator)
    matrices = attempt("fisher", lambda: fisher_matrices(circuit, angles, rows))
    dimension = None
    if matrices is not None:
        dimension = dimension_of(matrices, data=DATA, seed=generator)
    # One draw of many qubits takes seconds, and a generic one is enough.
    tries = 3 if circuit.n_qubits <= 6 else 1
    jacobian = attempt("jacobian", lambda: jacobian_rank(circuit, draws=tries, seed=generator))
    close = spread = None
    if rows is None:
        left_out["concentration"] = "no inputs were given"
    else:
        close = attempt("concentration", lambda: concentration(rows, seed=generator))
        if close is not None:
            spread = readout_spread(rows, circuit, draws=max(2, draws // 10), seed=generator)
    return CapacityReport(
        circuit=circuit.to_dict(),
        angles=angles[0].numel(),
        inputs=0 if rows is None else len(rows),
        expressibility=expressed,
        entanglement=entanglement,
        gradient_variance=variance,
        plateau=plateau,
        fisher=None if matrices is None else spectrum_of(matrices),
        effective_dimension=dimension,
        jacobian=jacobian,
        concentration=close,
        readout_spread=spread,
        left_out=left_out,
    )
