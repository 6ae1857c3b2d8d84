"""Fixtures shared by all tests: no network, and the real data beside the repository."""

import gc
import os
import runpy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.command_line import InProcess

# Before torch is imported, here and in child processes: the tensors are small, and the threads of three
# workers on two cores mostly wait for each other. Tests of threads set their number themselves.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same guard that the child processes of some tests get.
runpy.run_path(str(Path(__file__).parent / "offline" / "sitecustomize.py"))

# Not while the libraries and tests are imported: nothing of that is garbage.
gc.disable()

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Parallel workers begin with what is slow, then with the fullest files: the last ones are short."""
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        sizes = Counter(item.path for item in items)
        items.sort(key=lambda item: (item.path not in slow, -sizes[item.path]))


def pytest_collection_finish() -> None:
    """Leave what is imported by now out of garbage collections, with which each training begins."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Libraries that count their objects at the end find them collected."""
    gc.unfreeze()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The real models and datasets beside the repository; the test is skipped where they are absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no real models and data: {SHARED} is absent")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def own_token_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tokens that tests make out of the user's cache; child processes inherit the setting."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMPLITUNE_CACHE", str(tmp_path_factory.mktemp("tokens")))
        yield


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny random models (llama, gpt2, bert) and data files of two tasks that fit them."""
    from tests.study.tiny_models import save_data, save_models

    folder = tmp_path_factory.mktemp("tiny")
    save_models(folder)
    return save_data(folder)


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> "InProcess":
    """The command line in this process, in an empty folder."""
    from tests.command_line import InProcess

    monkeypatch.chdir(tmp_path)
    return InProcess(monkeypatch, capsys)
