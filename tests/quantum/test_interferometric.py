"""The interferometric readout: linear in the encoded input, and its functionals against dense matrices."""

import torch

from amplitune.quantum import Ansatz, Circuit, expectation, statevector
from amplitune.quantum.interferometric import functionals


def test_functionals_are_the_real_parts_of_the_reference_seen_through_the_circuit() -> None:
    circuit = Circuit(3, Ansatz("RYRZ", "ring", 2, "CZ", "RY"), "interferometric")
    generator = torch.Generator().manual_seed(1)
    angles = torch.randn(circuit.angle_shape(2), generator=generator, dtype=torch.float64)
    # The columns of U: the states that the basis states become.
    unitary = statevector(torch.eye(8, dtype=torch.float64), angles, circuit).permute(1, 2, 0)
    seen = unitary.sum(dim=-1) / 8**0.5
    found = functionals(angles, circuit).reshape(2, 3, 8)
    for wire in range(3):
        bit = torch.tensor([(index >> (2 - wire)) & 1 for index in range(8)])
        expected = torch.einsum("cij,i,ci->cj", unitary.conj(), (1 - 2 * bit).to(torch.complex128), seen).real
        torch.testing.assert_close(found[:, wire], expected, rtol=0, atol=1e-14)


def test_values_are_linear_in_the_input_once_the_norm_is_restored() -> None:
    circuit = Circuit(3, Ansatz("RY", "ring"), "interferometric", "restore")
    generator = torch.Generator().manual_seed(2)
    angles = torch.randn(circuit.angle_shape(), generator=generator, dtype=torch.float64)
    x, y = torch.randn(2, 4, 6, generator=generator, dtype=torch.float64)
    together = expectation(2 * x - 3 * y, angles, circuit)
    apart = 2 * expectation(x, angles, circuit) - 3 * expectation(y, angles, circuit)
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-13)
    assert torch.equal(expectation(torch.zeros(6), angles.float(), circuit), torch.zeros(3))


def test_a_row_of_zeros_has_zero_gradients_of_first_and_second_order_without_its_norm() -> None:
    circuit = Circuit(3, Ansatz("RY", "ring"), "interferometric")
    angles = torch.full(circuit.angle_shape(), 0.3)
    x = torch.tensor([[0.0] * 6, [1.0, -2.0, 3.0, 0.5, 0.0, 4.0]], requires_grad=True)
    (first,) = torch.autograd.grad(expectation(x, angles, circuit).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    for gradient in (first, second):
        assert torch.equal(gradient[0], torch.zeros(6))
        assert gradient[1].isfinite().all()
        assert gradient[1].any()


def test_torch_compile_takes_the_gradients_of_one_circuit_and_of_several() -> None:
    circuit = Circuit(3, Ansatz("RY", "ring"), "interferometric")
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(3))
    for circuits in (1, 2):
        angles = torch.full(circuit.angle_shape(circuits), 0.3, requires_grad=True)
        compiled = torch.compile(expectation, backend="aot_eager", fullgraph=True, dynamic=False)
        (found,) = torch.autograd.grad(compiled(x, angles, circuit).square().sum(), angles)
        (expected,) = torch.autograd.grad(expectation(x, angles, circuit).square().sum(), angles)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
