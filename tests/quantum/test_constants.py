"""Constant tensors: kept once, and usable after inference mode and fake tensors."""

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from amplitune.quantum import Ansatz, Circuit, expectation, statevector
from amplitune.quantum.constants import constant

CPU = torch.device("cpu")


def test_a_constant_is_built_once_per_arguments_device_and_dtype() -> None:
    first = constant(torch.eye, 3, device=CPU, dtype=torch.float32)
    assert constant(torch.eye, 3, device=CPU, dtype=torch.float32) is first
    assert constant(torch.eye, 3, device=CPU, dtype=torch.float64).dtype == torch.float64
    assert constant(torch.eye, 2, device=CPU, dtype=torch.float32).shape == (2, 2)


def test_a_circuit_first_run_in_inference_mode_can_be_trained_afterwards() -> None:
    # A circuit that no other test uses, so that its constants are made here.
    circuit = Circuit(6, Ansatz("RYRZ", "all-to-all", depth=2))
    x, angles = torch.randn(3, 50), torch.randn(circuit.angle_shape())
    with torch.inference_mode():
        values = expectation(x, angles, circuit)
        statevector(x, angles, circuit)
    angles.requires_grad_()
    trained = expectation(x, angles, circuit)
    trained.sum().backward()
    assert torch.equal(trained, values)
    assert angles.grad is not None
    assert angles.grad.abs().max() > 0


def test_fake_tensors_give_shapes_and_leave_no_trace() -> None:
    known, new = Circuit(3, Ansatz("Rot", "linear", 2)), Circuit(7, Ansatz("Rot", "linear", 2))
    expectation(torch.randn(2, 5), torch.randn(known.angle_shape()), known)
    with FakeTensorMode():
        for circuit in (known, new):
            angles = torch.randn(circuit.angle_shape(2), requires_grad=True)
            values = expectation(torch.randn(2, 5), angles, circuit)
            values.sum().backward()
            assert isinstance(values, FakeTensor)
            assert values.shape == (2, 2 * circuit.n_qubits)
    values = expectation(torch.randn(2, 5), torch.randn(new.angle_shape()), new)
    assert type(values) is torch.Tensor


def test_meta_tensors_give_shapes() -> None:
    circuit = Circuit(3, Ansatz("RY", "ring", 2))
    angles = torch.randn(circuit.angle_shape(), device="meta")
    assert expectation(torch.randn(4, 5, device="meta"), angles, circuit).shape == (4, 3)
    assert statevector(torch.randn(4, 5, device="meta"), angles, circuit).shape == (4, 1, 8)
