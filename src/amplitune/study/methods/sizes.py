"""How each method is made larger or smaller, as ladders whose steps are as fine as the method allows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from amplitune.quantum.readout import WORDS
from amplitune.study.methods.registry import Method, adapter_config
from amplitune.study.tuning.search_spaces import SIZES

LARGEST = 4096
"""The highest rung of a ladder that has no end of its own."""


@dataclass(frozen=True)
class Ladder:
    """Sizes of a method in rising order.

    Args:
        settings: the settings of the adapter on a rung, counted from 1.
        rungs: how many there are.
    """

    settings: Callable[[int], dict[str, Any]]
    rungs: int = LARGEST


def size_ladder(method: Method, config: Mapping[str, Any], context: int | None) -> Ladder | None:
    """The ladder of a method with one number for its size: a rank, or how many virtual tokens; or None.

    Args:
        method: the method.
        config: the settings of its adapter that the study gives.
        context: tokens that the model takes; half of them are left to the examples.
    """
    if method.peft_type == "QAA":
        return None if config.get("preset") else Ladder(lambda rung: {"circuits": rung})
    keys = [key.removeprefix("config.") for key in SIZES.get(method.name, {})]
    if len(keys) != 1:
        return None
    ends = {"num_virtual_tokens": LARGEST if context is None else max(1, context // 2)}
    return Ladder(lambda rung: {keys[0]: rung}, ends.get(keys[0], LARGEST))


def word_ladder(method: Method, config: Mapping[str, Any], circuits: int, n_qubits: int) -> Ladder | None:
    """The finer ladder of QAA, one Pauli word after the other: Z on each wire, then ZZ on each pair of them.

    A circuit more adds its whole readout; between two numbers of circuits lie the readouts of fewer and of
    more words. Only where the readout is one of these: another one would be another method.

    Args:
        method: the method.
        config: the settings of its adapter that the study gives.
        circuits: how many there are, each with the same words.
        n_qubits: wires of the smallest circuit.
    """
    if method.peft_type != "QAA" or config.get("preset"):
        return None
    if getattr(adapter_config(method, "generation", config), "readout", None) not in ("Z", "Z+ZZ"):
        return None
    words = WORDS["Z+ZZ"](n_qubits)
    return Ladder(lambda rung: {"circuits": circuits, "readout": words[:rung]}, len(words))


def nearest_rung(ladder: Ladder, budget: int, count: Callable[[Mapping[str, Any]], int]) -> int:
    """The rung with the number of parameters nearest to a budget, the lower one of two as near.

    The count must not fall from a rung to the next. As a rule it grows by the same number each time, and the
    first guess is right.

    Args:
        ladder: the sizes.
        budget: the number of parameters.
        count: that of an adapter with these settings.
    """
    counts: dict[int, int] = {}

    def at(rung: int) -> int:
        if rung not in counts:
            counts[rung] = count(ladder.settings(rung))
        return counts[rung]

    if at(1) >= budget or ladder.rungs == 1:
        return 1
    # From here on `low` is below the budget and `high`, which may be beyond the last rung, is not.
    low, high = 1, ladder.rungs + 1
    step = at(2) - at(1)
    guess = 1 + (budget - at(1)) // step if step > 0 else ladder.rungs
    for rung in (min(guess, ladder.rungs), guess + 1, guess - 1):
        if low < rung < high:
            low, high = (rung, high) if at(rung) < budget else (low, rung)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if at(middle) < budget else (low, middle)
    return high if high <= ladder.rungs and at(high) - budget < budget - at(low) else low
