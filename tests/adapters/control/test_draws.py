"""What is random and fixed: orthonormal, balanced, the same wherever it is drawn."""

import pytest
import torch

from amplitune.adapters.control.draws import balanced_signs, generator_for, orthonormal_rows, random_orders


def test_the_draws_of_a_seed_and_a_name_are_pinned() -> None:
    """A release of torch that draws otherwise would load adapters wrongly; then this fails."""
    few = orthonormal_rows(1, 4, generator_for(7, "m"))[0]
    # torch draws 16 normal numbers and more in another way than fewer.
    many = orthonormal_rows(2, 17, generator_for(7, "m"))[1, :4]
    for found, pinned in (
        (few, [-0.06544558, -0.53212094, -0.81212765, -0.23024521]),
        (many, [-0.28613954, -0.32685619, 0.46119399, 0.41881695]),
    ):
        torch.testing.assert_close(found, torch.tensor(pinned, dtype=torch.float64), atol=1e-7, rtol=0)
    assert random_orders(1, 8, generator_for(7, "m"))[0].tolist() == [2, 3, 5, 1, 7, 6, 0, 4]


def test_seeds_and_modules_draw_apart() -> None:
    draws = {
        (seed, name): tuple(random_orders(1, 64, generator_for(seed, name))[0].tolist())
        for seed in (0, 1)
        for name in ("layers.0.q_proj", "layers.1.q_proj")
    }
    assert len(set(draws.values())) == 4


@pytest.mark.parametrize(("rows", "features"), [(1, 1), (1, 9), (5, 24), (24, 24), (30, 12), (5, 2)])
def test_rows_are_orthonormal_in_blocks_of_as_many_as_can_be(rows: int, features: int) -> None:
    p = orthonormal_rows(rows, features, torch.Generator().manual_seed(3))
    assert p.shape == (rows, features)
    blocks = p.split(features)
    assert len(blocks) == -(-rows // features)
    for block in blocks:
        torch.testing.assert_close(block @ block.T, torch.eye(len(block), dtype=torch.float64))


def test_rows_are_uniform_over_directions() -> None:
    """Of a uniform unit vector in 3 dimensions each coordinate is uniform on [-1, 1] (Archimedes)."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.stack([orthonormal_rows(2, 3, generator)[1] for _ in range(2000)])
    for coordinate in rows.T:
        expected = torch.linspace(-1, 1, 2000, dtype=torch.float64)
        # The Kolmogorov-Smirnov statistic's 99.9 % point is 1.95 / sqrt(2000) = 0.044 of a range of 2.
        assert (coordinate.sort().values - expected).abs().max() < 2 * 0.044


def test_signs_are_balanced_and_orders_are_permutations() -> None:
    generator = torch.Generator().manual_seed(1)
    signs = balanced_signs(6, 16, generator)
    assert signs.abs().eq(1).all()
    assert signs.sum(-1).tolist() == [0.0] * 6
    assert len({tuple(row.tolist()) for row in signs}) == 6
    orders = random_orders(5, 16, generator)
    assert orders.sort(-1).values.eq(torch.arange(16)).all()
    assert orders.shape == (5, 16)
