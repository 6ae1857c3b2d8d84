"""The linear share of changes whose share is known, and the regression against its normal equations."""

import pytest
import torch
from torch import Tensor

from amplitune.study.measures.linear_share import Splits, linear_share, parts_of, split_inputs


def draw(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def split(inputs: Tensor, lengths: list[int]) -> Splits:
    splits = split_inputs(inputs, parts_of(lengths))
    assert splits is not None
    return splits


def test_parts_are_whole_examples() -> None:
    assert parts_of([2, 1, 1, 3, 1]).tolist() == [0, 0, 1, 2, 3, 3, 3, 0]
    assert parts_of([8]).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert split_inputs(draw(4, 3), parts_of([4])) is None


@pytest.mark.parametrize(("tokens", "width"), [(400, 20), (80, 150)])
def test_predictions_are_those_of_ridge_regression(tokens: int, width: int) -> None:
    inputs, change = draw(tokens, width) + 1, draw(tokens, 6, seed=1)
    scoring = split(inputs, [tokens // 8] * 8).scoring
    x, d = inputs[scoring.fitted], change[scoring.fitted]
    centred = x - x.mean(dim=0)
    penalty = 0.3 * float(scoring.squared.mean())
    gram = centred.T @ centred + penalty * torch.eye(width, dtype=torch.float64)
    weights = torch.linalg.solve(gram, centred.T @ (d - d.mean(dim=0)))
    expected = d.mean(dim=0) + (inputs[scoring.others] - x.mean(dim=0)) @ weights
    torch.testing.assert_close(scoring.predict(change, 0.3), expected)
    assert int(scoring.fitted.sum()) == tokens * 3 // 4


def test_a_matrix_and_a_bias_are_found_whole() -> None:
    inputs = draw(400, 20)
    change = inputs @ draw(20, 30, seed=1) + 5
    assert linear_share(split(inputs, [50] * 8), change) == pytest.approx(1, abs=1e-9)


def test_a_quadratic_change_is_not_linear() -> None:
    inputs = draw(4000, 10)
    squares = inputs.square() @ draw(10, 30, seed=1)
    share = linear_share(split(inputs, [100] * 40), squares)
    assert share == pytest.approx(0, abs=0.03)


def test_a_mixture_has_its_share() -> None:
    inputs = draw(8000, 10)
    linear, rest = inputs, (inputs.square() - 1) / 2**0.5
    # Both have variance 1 in each entry and no covariance.
    share = linear_share(split(inputs, [100] * 80), 2 * linear + rest)
    assert share == pytest.approx(4 / 5, abs=0.02)


def test_a_part_that_each_token_has_counts_on_neither_side() -> None:
    inputs = draw(400, 20)
    change = inputs @ draw(20, 5, seed=1) + draw(400, 5, seed=2)
    shares = [linear_share(split(inputs, [50] * 8), change + constant) for constant in (0, 1e3)]
    assert shares[0] == pytest.approx(shares[1])
    assert linear_share(split(inputs, [50] * 8), torch.ones(400, 5, dtype=torch.float64), 1e-9) is None


def test_repeated_tokens_do_not_hide_that_a_change_does_not_carry_over() -> None:
    # 30 words, each with a change of its own that has nothing to do with its vector: a fit can learn them by
    # heart, and the ten words that only the last part reads show it.
    words, changes = draw(40, 30), draw(40, 20, seed=1)
    generator = torch.Generator().manual_seed(3)
    lengths = [25] * 16
    known = torch.randint(30, (sum(lengths),), generator=generator)
    fresh = torch.randint(30, 40, (sum(lengths),), generator=generator)
    tokens = torch.where(parts_of(lengths) == 3, fresh, known)
    share = linear_share(split(words[tokens], lengths), changes[tokens])
    assert share is not None
    assert share < 0.1


def test_noise_is_not_fitted() -> None:
    # 150 fitted tokens in 100 dimensions: without a penalty noise would score about -2.
    inputs, noise = draw(200, 100), draw(200, 40, seed=1)
    share = linear_share(split(inputs, [10] * 20), noise)
    assert share == pytest.approx(0, abs=0.05)
    signal = inputs @ draw(100, 40, seed=2) / 10 + noise
    found = linear_share(split(inputs, [10] * 20), signal)
    assert found is not None
    assert 0.05 < found < 0.5
