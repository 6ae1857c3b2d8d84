"""Formulas: what they compute, what they refuse, how they are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peft.tuners.lokr.layer import factorization

from amplitune.study.survey.formula import evaluate, near_root, pretty

NAMES = {"r": 8.0, "d_in": 64.0, "d_out": 48.0, "share": 0.01, "none": 0.0}


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("r * (d_in + d_out)", 896),
        ("r * (r - 1) / 2", 28),
        ("d_in ** 2 - 1", 4095),
        ("ceil(min(d_in, d_out) / 7)", 7),
        ("floor(d_in * d_out * share)", 30),
        ("d_in if none < 1 else d_out", 64),
        ("d_in if 1 < none else d_out", 48),
        ("near_root(d_out) + max(1, round(share))", 7),
    ],
)
def test_a_formula_gives_its_value(formula: str, value: int) -> None:
    assert evaluate(formula, NAMES) == value


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("r / 3", "must give a whole number, but gives 2.66"),
        ("r * width", "`width` cannot be computed from d_in, d_out"),
        ("__import__('os')", "cannot be computed"),
        ("r.real", "cannot be computed"),
        ("[r]", "cannot be computed"),
    ],
)
def test_what_is_no_formula_is_refused(formula: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(formula, NAMES)


@given(st.integers(1, 3000))
def test_the_divisor_near_the_root_is_the_one_that_lokr_takes(width: int) -> None:
    assert near_root(width) == factorization(width, -1)[0]


def test_written_as_mathematics() -> None:
    assert pretty("r * (d_in + d_out) + h ** 2 / 2") == "r·(d_in + d_out) + h²/2"
