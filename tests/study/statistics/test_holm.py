"""Holm's adjustment against its published definition and against simulated families."""

import numpy as np
import pytest

from amplitune.study.statistics.holm import holm


def by_definition(p_values: list[float]) -> list[float]:
    """max over j <= i of min(1, (m - j + 1) p_(j)), for the i-th smallest."""
    m, ordered = len(p_values), sorted(p_values)
    adjusted = [max(min(1.0, (m - j) * ordered[j]) for j in range(i + 1)) for i in range(m)]
    return [adjusted[ordered.index(p)] for p in p_values]


def test_worked_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.7]) == [0.7]
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_the_definition() -> None:
    rng = np.random.default_rng(0)
    for size in range(1, 12):
        p_values = rng.random(size).tolist()
        assert holm(p_values) == pytest.approx(by_definition(p_values))


def test_a_family_without_a_finding_has_one_at_the_nominal_rate() -> None:
    families = np.random.default_rng(1).random((4000, 9))
    false = np.mean([min(holm(family.tolist())) < 0.05 for family in families])
    assert false == pytest.approx(0.05, abs=0.011)
