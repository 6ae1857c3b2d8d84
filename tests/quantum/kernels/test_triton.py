"""The Triton kernels: values and gradients against the reference, and that they compile for a GPU."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

CASES = Path(__file__).parent / "triton_cases.py"

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="Triton is not installed (pip install 'amplitune[triton]')",
)


@pytest.mark.parametrize(
    ("group", "visited"),
    [("qubits", 175), ("structures", 340), ("rows", 137), ("projection", 72), ("compile", 7)],
)
def test_agrees_with_the_reference(group: str, visited: int) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    if group != "compile" and not torch.cuda.is_available():
        environment["TRITON_INTERPRET"] = "1"
    # Small tensors: threads would only get in the way of the other tests.
    environment["OMP_NUM_THREADS"] = "1"
    done = subprocess.run(
        [sys.executable, str(CASES), group], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    cases = json.loads(done.stdout)
    assert len(cases) == visited
    assert [case for case in cases if not case[1] <= case[2]] == []
