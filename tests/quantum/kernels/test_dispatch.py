"""The rule that chooses a kernel: its order, its overrides, and the one line it logs."""

import logging

import pytest
import torch

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit, expectation
from amplitune.quantum.kernels import dispatch
from amplitune.quantum.kernels.dispatch import KERNELS, VARIABLE, choose, kernel
from amplitune.quantum.program import program_of

X = torch.randn(3, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
REAL, COMPLEX = Circuit(3), Circuit(3, Ansatz("Rot"))


def test_the_table_holds_the_kernels_in_the_order_of_preference() -> None:
    assert list(KERNELS) == ["triton", "native", "torch"]


def test_the_torch_kernel_runs_what_the_others_refuse() -> None:
    assert choose(program_of(COMPLEX), X).name == "torch"
    for name in ("native", "triton"):
        reason = KERNELS[name].unsupported(program_of(COMPLEX), X)
        assert reason
        assert KERNELS["torch"].unsupported(program_of(COMPLEX), X) is None


def test_a_real_circuit_on_a_cpu_runs_natively_where_it_can_be_compiled() -> None:
    expected = "native" if KERNELS["native"].unsupported(program_of(REAL), X) is None else "torch"
    assert choose(program_of(REAL), X).name == expected


def test_the_choice_can_be_overridden_for_a_block_and_for_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with kernel("torch"):
        assert choose(program_of(REAL), X).name == "torch"
        with kernel(None):
            assert choose(program_of(REAL), X).name in KERNELS
    monkeypatch.setenv(VARIABLE, "torch")
    assert choose(program_of(REAL), X).name == "torch"


def test_a_kernel_that_was_asked_for_and_cannot_run_the_circuit_is_an_error() -> None:
    angles = torch.zeros(COMPLEX.angle_shape())
    with (
        kernel("native"),
        pytest.raises(ConfigError, match="`kernel` must be able to run the circuit, but 'native'"),
    ):
        expectation(X, angles, COMPLEX)


def test_an_unknown_kernel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    message = r"`kernel` must be one of .*, but is 'tritn'. Did you mean 'triton'\?"
    with pytest.raises(ConfigError, match=message), kernel("tritn"):
        pass
    monkeypatch.setenv(VARIABLE, "cuda")
    with pytest.raises(ConfigError, match=r"`AMPLITUNE_KERNEL` must be one of .*, but is 'cuda'"):
        choose(program_of(REAL), X)


def test_a_choice_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    dispatch._report.cache_clear()
    with caplog.at_level(logging.INFO, logger="amplitune"):
        for _ in range(3):
            expectation(X, torch.zeros(REAL.angle_shape()), REAL)
    lines = [record.getMessage() for record in caplog.records if record.name == "amplitune"]
    assert len(lines) == 1
    assert lines[0].startswith("circuits on cpu run with the ")
