"""What controls compute, against loops over dense matrices, and its gradients against finite differences."""

import math

import pytest
import torch
from torch import Tensor

from amplitune.adapters.control.draws import balanced_signs, orthonormal_rows, random_orders
from amplitune.adapters.control.features import givens, projection, squares
from amplitune.quantum import Circuit, expectation

DOUBLE = torch.float64


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def rows(tokens: int, features: int) -> Tensor:
    return torch.randn(tokens, features, dtype=DOUBLE, generator=generator())


def twin(circuits: int, levels: int, m: int, n: int) -> tuple[Tensor, Tensor, Tensor]:
    made = generator()
    orders = random_orders(circuits * levels, 2**n, made).reshape(circuits, levels, -1)
    signs = balanced_signs(circuits * m, 2**n, made).reshape(circuits, m, -1)
    angles = torch.empty(circuits, levels, dtype=DOUBLE).uniform_(-math.pi, math.pi, generator=made)
    return angles, orders, signs


def dense_givens(x: Tensor, angles: Tensor, orders: Tensor, signs: Tensor) -> Tensor:
    """The definition with D x D matrices, one pair, one row and one circuit at a time."""
    size = orders.shape[-1]
    found = []
    for row in x:
        a = torch.zeros(size, dtype=DOUBLE)
        a[: len(row)] = row / math.sqrt(float(sum(value**2 for value in row)))
        of_row = []
        for own_angles, own_orders, own_signs in zip(angles, orders, signs, strict=True):
            mixing = torch.eye(size, dtype=DOUBLE)
            for angle, order in zip(own_angles.tolist(), own_orders.tolist(), strict=True):
                # Written on the amplitudes as they stand before the new order: which pairs are rotated.
                level = torch.zeros(size, size, dtype=DOUBLE)
                for j in range(size // 2):
                    first, second = order[j], order[j + size // 2]
                    level[j, first], level[j, second] = math.cos(angle / 2), -math.sin(angle / 2)
                    level[j + size // 2, first] = math.sin(angle / 2)
                    level[j + size // 2, second] = math.cos(angle / 2)
                mixing = level @ mixing
            torch.testing.assert_close(mixing @ mixing.T, torch.eye(size, dtype=DOUBLE))
            of_row.append(torch.stack([(sign * (mixing @ a) ** 2).sum() for sign in own_signs]))
        found.append(torch.cat(of_row))
    return torch.stack(found)


@pytest.mark.parametrize(("features", "n", "circuits", "levels"), [(6, 3, 1, 3), (8, 3, 2, 6), (1, 1, 1, 1)])
def test_givens_is_its_definition(features: int, n: int, circuits: int, levels: int) -> None:
    x = rows(4, features)
    angles, orders, signs = twin(circuits, levels, 3, n)
    expected = dense_givens(x, angles, orders, signs)
    assert expected.shape == (4, circuits * 3)
    torch.testing.assert_close(givens(x, angles, orders, signs), expected)
    norms = x.square().sum(-1, keepdim=True).sqrt()
    torch.testing.assert_close(givens(x, angles, orders, signs, keep_norm=True), expected * norms)


def test_squares_is_its_definition() -> None:
    x, p = rows(4, 6), orthonormal_rows(3, 6, generator())
    norms = x.square().sum(-1, keepdim=True).sqrt()
    expected = torch.stack(
        [torch.stack([(row / norm) @ q for q in p]) ** 2 for row, norm in zip(x, norms, strict=True)]
    )
    expected = expected * math.sqrt(6 * 8 * 8 / (10 * 7))
    torch.testing.assert_close(squares(x, p, 3), expected)
    torch.testing.assert_close(squares(x, p, 3, keep_norm=True), expected * norms)
    torch.testing.assert_close(squares(-1e-200 * x, p, 3), expected)
    torch.testing.assert_close(
        projection(x, p), torch.stack([torch.stack([row @ q for q in p]) for row in x])
    )


@pytest.mark.parametrize("features", [24, 32])
def test_the_variance_on_random_rows_is_that_of_a_circuits_readouts(features: int) -> None:
    """Of both controls and of deep circuits, for widths that are and are not a power of two."""
    n, size, made = 5, 32, generator()
    x = torch.randn(20000, features, dtype=DOUBLE, generator=made)
    p = orthonormal_rows(24, features, made)
    expected = 2 * size * (features - 1) / (features * (size + 2) * (size - 1))
    assert squares(x, p, n).var(dim=0).mean() == pytest.approx(expected, rel=0.03)
    angles, orders, signs = twin(8, 4 * n, 5, n)
    assert givens(x, angles, orders, signs).var(dim=0).mean() == pytest.approx(expected, rel=0.15)
    circuit = Circuit.from_dict({"n_qubits": n, "depth": 8})
    turned = torch.empty(circuit.angle_shape(8), dtype=DOUBLE).uniform_(-math.pi, math.pi, generator=made)
    assert expectation(x, turned, circuit).var(dim=0).mean() == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("keep_norm", [False, True])
def test_gradients(keep_norm: bool) -> None:
    x = rows(3, 6).requires_grad_()
    p = orthonormal_rows(2, 6, generator())
    angles, orders, signs = twin(2, 4, 3, 3)
    angles.requires_grad_()
    checked = [
        torch.autograd.gradcheck(lambda x: projection(x, p), (x,)),
        torch.autograd.gradcheck(lambda x: squares(x, p, 3, keep_norm=keep_norm), (x,)),
        torch.autograd.gradcheck(
            lambda x, angles: givens(x, angles, orders, signs, keep_norm=keep_norm), (x, angles)
        ),
    ]
    assert checked == [True] * 3


@pytest.mark.parametrize("keep_norm", [False, True])
def test_a_row_of_zeros_is_zero_with_gradient_zero(keep_norm: bool) -> None:
    p = orthonormal_rows(2, 6, generator())
    angles, orders, signs = twin(1, 3, 2, 3)
    visited = 0
    for feature in (
        lambda x: squares(x, p, 3, keep_norm=keep_norm),
        lambda x: givens(x, angles, orders, signs, keep_norm=keep_norm),
    ):
        x = rows(3, 6)
        x[1] = 0
        x.requires_grad_()
        values = feature(x)
        values.sum().backward()
        assert values[1].tolist() == [0.0, 0.0]
        assert x.grad is not None
        assert x.grad[1].tolist() == [0.0] * 6
        assert torch.isfinite(x.grad).all()
        assert (x.grad[[0, 2]] != 0).any()
        visited += 1
    assert visited == 2


def test_what_is_kept_for_the_backward_pass_does_not_grow_with_depth() -> None:
    kept = []
    for levels in (3, 30):
        angles, orders, signs = twin(1, levels, 3, 6)
        angles.requires_grad_()
        sizes: list[int] = []

        def note(tensor: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            givens(rows(50, 64).requires_grad_(), angles, orders, signs)
        # But for the angles and the orders themselves.
        kept.append(sum(sizes) - levels - 64 * levels)
    assert kept[0] == kept[1] > 0
