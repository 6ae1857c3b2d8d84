"""What the tests of training share: each method in turn, and torch's deterministic algorithms."""

import pytest
import torch
from tests.study.training_run import METHODS


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def deterministic() -> None:
    """As a run's process has them; `settings_of_torch` puts them back."""
    torch.use_deterministic_algorithms(True, warn_only=True)
