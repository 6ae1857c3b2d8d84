"""Two processes under DeepSpeed's ZeRO train every adapter to what one process trains it to.

DeepSpeed is not among what `make test` installs; `pip install deepspeed` is enough, also without a GPU.
"""

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.adapters.training_stacks.pair import run_pair
from tests.adapters.training_stacks.training import (
    STEPS,
    batches,
    build_model,
    build_optimizer,
    sora_step,
    train,
    trained,
)

if importlib.util.find_spec("deepspeed") is None:
    pytest.skip("deepspeed is not installed", allow_module_level=True)

METHODS = ("qaa", "qaa-shared", "sora", "sora-lr", "control")
NAMES = [
    *(f"zero-{stage} {method}" for stage in (2, 3) for method in METHODS),
    *(
        f"{way} {method}"
        for way in (
            "zero-2-accumulating",
            "zero-3-accumulating",
            "zero-3-checkpointed",
            "split-from-the-start",
            "zero-2-bfloat16",
            "zero-3-bfloat16",
        )
        for method in ("qaa", "sora")
    ),
    *(f"zero-{stage}-{way} sora" for stage in (2, 3) for way in ("resumed", "offloaded")),
]


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Does all jobs in one pair of processes; gives the result of each."""
    folder = tmp_path_factory.mktemp("pair")
    run_pair("tests.adapters.training_stacks.deepspeed_worker", folder, {"DS_ACCELERATOR": "cpu"})
    assert {path.stem for path in folder.glob("*.pt")} == set(NAMES)
    return lambda name: torch.load(folder / f"{name}.pt", weights_only=True)


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_train_to_what_one_does(name: str, by_two: Callable[[str], Any]) -> None:
    result = by_two(name)
    assert "error" not in result, result["error"]
    way, method = name.split()
    model = build_model(method)
    optimizer = build_optimizer(model, method)
    losses = train(model, optimizer, batches())
    assert result["sora_step"] == sora_step(optimizer) == (STEPS if method.startswith("sora") else None)
    expected, found = trained(model), result["state"]
    assert found.keys() == expected.keys()
    if way.endswith("bfloat16"):
        assert result["losses"] == pytest.approx(losses, rel=0.02)
        return
    assert result["losses"] == pytest.approx(losses, rel=1e-5)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5, msg=f"{name}: {key}")
        assert "sora_gate" not in key or torch.equal(found[key] == 0, value == 0)
