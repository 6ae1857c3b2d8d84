"""Two processes train every adapter to what one process trains it to, by replicas and by shards."""

from collections.abc import Callable
from pathlib import Path
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
from tests.adapters.training_stacks.worker import jobs

pytestmark = pytest.mark.slow

NAMES = sorted(jobs(Path()))


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Does all jobs in one pair of processes; gives the result of each."""
    folder = tmp_path_factory.mktemp("pair")
    run_pair("tests.adapters.training_stacks.worker", folder)
    return lambda name: torch.load(folder / f"{name}.pt", weights_only=True)


@pytest.fixture(scope="module")
def by_one() -> Callable[[str], Any]:
    """Trains a method in this process, once."""
    done: dict[str, Any] = {}

    def do(method: str) -> Any:
        if method not in done:
            model = build_model(method)
            optimizer = build_optimizer(model, method)
            losses = train(model, optimizer, batches())
            done[method] = losses, trained(model), sora_step(optimizer)
        return done[method]

    return do


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_train_to_what_one_does(
    name: str, by_two: Callable[[str], Any], by_one: Callable[[str], Any]
) -> None:
    result = by_two(name)
    assert "error" not in result, result["error"]
    method = name.split()[1]
    losses, expected, step = by_one(method)
    assert result["losses"] == pytest.approx(losses, rel=1e-5)
    assert len(losses) == STEPS
    found = result["state"]
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5, msg=f"{name}: {key}")
    assert result["sora_step"] == step == (STEPS if method.startswith("sora") else None)
    if method.startswith("sora"):
        zero = {key: value == 0 for key, value in expected.items() if "sora_gate" in key}
        assert len(zero) == 4
        remaining = sum(int((~each).sum()) for each in zero.values())
        assert 0 < remaining < 20
        assert all(torch.equal(found[key] == 0, each) for key, each in zero.items())


def test_every_way_is_tried_with_gates() -> None:
    ways = {name.split()[0] for name in NAMES}
    assert {name.split()[0] for name in NAMES if name.endswith(" sora")} == ways
    assert len(ways) == 10
