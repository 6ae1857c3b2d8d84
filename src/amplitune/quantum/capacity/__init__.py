"""Capacity measures of circuits: what they can reach, entangle, learn and tell apart, each with its error."""

from amplitune.quantum.capacity.concentration import concentration
from amplitune.quantum.capacity.effective_dimension import effective_dimension
from amplitune.quantum.capacity.entanglement import entangling_capability
from amplitune.quantum.capacity.estimate import Estimate
from amplitune.quantum.capacity.expressibility import expressibility
from amplitune.quantum.capacity.fisher import fisher_spectrum
from amplitune.quantum.capacity.gradient_variance import gradient_variance
from amplitune.quantum.capacity.jacobian_rank import jacobian_rank
from amplitune.quantum.capacity.plateau import plateau_slope
from amplitune.quantum.capacity.report import capacity_report

__all__ = [
    "Estimate",
    "capacity_report",
    "concentration",
    "effective_dimension",
    "entangling_capability",
    "expressibility",
    "fisher_spectrum",
    "gradient_variance",
    "jacobian_rank",
    "plateau_slope",
]
