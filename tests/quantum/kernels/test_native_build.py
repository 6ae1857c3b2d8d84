"""The native kernel's library: compiled for shorter vectors, kept, found again, and missed without error."""

import platform
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from tests.quantum.kernels.native_cases import assert_agrees, case, needs_compiler

from amplitune.quantum import Ansatz, Circuit
from amplitune.quantum.kernels import native, native_build

pytestmark = needs_compiler


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="flags of x86")
@pytest.mark.parametrize("flags", ["-mno-avx512f", "-mno-avx -U__FLT16_MAX__"])
def test_shorter_vectors_and_no_half_precision(
    flags: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", f"cc {flags}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library: Any = native_build.load.__wrapped__()
    monkeypatch.setattr(native, "load", lambda: library)
    monkeypatch.setattr(native, "_tables", {})
    assert library.amplitune_lanes(0) < 16
    for n, depth in product(range(1, 12), (1, 2)):
        circuit = Circuit(n, Ansatz(depth=depth), readout="Z" if n > 6 else "Z+ZZ")
        x, angles, grad_z, program = case(circuit, features=2**n - n // 2, circuits=2)
        assert_agrees(x, angles, grad_z, program, 1e-12)
        assert_agrees(x.float(), angles.float(), grad_z.float(), program, 4e-6)
        assert_agrees(x.half(), angles.float(), grad_z.float(), program, 4e-6)


PROGRAM = """
import torch
from amplitune.quantum import Circuit
from amplitune.quantum.kernels import native
from amplitune.quantum.program import program_of
program = program_of(Circuit(2, readout=("Z1",)))
print(native.forward(torch.tensor([[0.0, 3.0, 4.0]]), torch.zeros(1, 1, 2), program))
"""


def test_a_second_process_loads_what_the_first_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library = native_build.build()
    folder = tmp_path / "amplitune"
    assert list(folder.iterdir()) == [library]
    assert folder.stat().st_mode & 0o077 == 0
    before = library.stat()
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    # The ring folds Z on wire 1 into the product of Z on both, which is -1 on |01> and on |10>.
    assert done.stdout.strip() == "tensor([[-1.]])"
    assert list(folder.iterdir()) == [library]
    assert (library.stat().st_mtime_ns, library.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.parametrize(("command", "reason"), [("false", "status 1"), ("/nowhere/cc", "does not run")])
def test_without_a_compiler_there_is_a_reason_and_no_error(
    command: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", command)
    library = native_build.load.__wrapped__()
    assert isinstance(library, str)
    assert reason in library


def test_a_failing_compilation_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "fake-cc"
    fake.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo fake && exit 0\necho "no such target" >&2\nexit 3\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("CC", str(fake))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(native_build.UnavailableError, match="status 3: no such target"):
        native_build.build()
    assert list((tmp_path / "cache" / "amplitune").iterdir()) == []


def test_a_cache_that_others_may_write_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "amplitune"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(native_build.UnavailableError, match="written to by others"):
        native_build.cache_folder()
