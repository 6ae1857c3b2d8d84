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

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("triton") is None,
        reason="Triton is not installed (pip install 'amplitune[triton]')",
    ),
]


VISITED = {"qubits": 175, "structures": 340, "rows": 137, "projection": 72}
"""How many values each group compares."""


def cases_of(*groups: str, **variables: str) -> dict[str, list[tuple[str, float, float]]]:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    # Small tensors: threads would only get in the way of the other tests.
    environment |= {"OMP_NUM_THREADS": "1", **variables}
    done = subprocess.run(
        [sys.executable, str(CASES), *groups], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, list[tuple[str, float, float]]] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def compared() -> dict[str, list[tuple[str, float, float]]]:
    """The cases of all groups, by one process."""
    return cases_of(*VISITED, **({} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"}))


@pytest.mark.parametrize("group", VISITED)
def test_agrees_with_the_reference(group: str, compared: dict[str, list[tuple[str, float, float]]]) -> None:
    cases = compared[group]
    assert len(cases) == VISITED[group]
    assert [case for case in cases if not case[1] <= case[2]] == []


def test_compiles_for_a_gpu() -> None:
    cases = cases_of("compile")["compile"]
    assert len(cases) == 7
    assert [case for case in cases if not case[1] <= case[2]] == []
