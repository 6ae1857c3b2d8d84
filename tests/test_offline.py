"""Nothing reaches for the network, though no variable tells it so: held by a guard on every socket."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.command_line import environment
from tests.study.tiny_models import study_values

pytestmark = pytest.mark.slow


def guarded(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python under the guard, in an environment that forbids nothing and has nothing cached."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def attempts(folder: Path) -> list[str]:
    log = folder / "attempts.log"
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


@pytest.mark.parametrize(
    ("code", "attempt"),
    [
        ("socket.create_connection(('192.0.2.1', 80), timeout=1)", "socket.getaddrinfo '192.0.2.1'"),
        ("socket.socket().connect(('192.0.2.1', 80))", "socket.connect '192.0.2.1'"),
        ("socket.socket(type=socket.SOCK_DGRAM).sendto(b'', ('192.0.2.1', 9))", "socket.sendto '192.0.2.1'"),
        ("socket.getaddrinfo('example.org', 443)", "socket.getaddrinfo 'example.org'"),
        ("urllib.request.urlopen('http://example.org')", "socket.getaddrinfo 'example.org'"),
    ],
)
def test_the_guard_blocks_and_logs(tmp_path: Path, code: str, attempt: str) -> None:
    done = guarded(tmp_path, "-c", f"import socket, urllib.request\n{code}")
    assert done.returncode == 1
    assert "the tests forbid the network" in done.stderr
    assert attempts(tmp_path) == [attempt]


def test_the_guard_holds_the_processes_of_a_process_too(tmp_path: Path) -> None:
    inner = "import socket; socket.getaddrinfo('example.org', 443)"
    guarded(tmp_path, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])")
    assert attempts(tmp_path) == ["socket.getaddrinfo 'example.org'"]


def test_the_guard_lets_loopback_through(tmp_path: Path) -> None:
    code = """
import socket
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname()).close()
socket.getaddrinfo("localhost", 80)
"""
    done = guarded(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    assert attempts(tmp_path) == []


def test_the_tests_themselves_are_guarded() -> None:
    import socket

    with pytest.raises(PermissionError, match="forbid the network"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)


def compared(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """The rows of a study that was compared under the guard."""
    done = guarded(folder, "-m", "amplitune", "compare", *arguments, "-o", "out", "--json")
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def test_a_study_of_classifiers(tiny: Path, tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump(study_values(tiny, "bert", methods=["lora"])), encoding="utf-8")
    rows = compared(tmp_path, str(study))
    assert [row["status"] for row in rows] == ["done"]
    assert 0 <= rows[0]["accuracy"] <= 1
    assert attempts(tmp_path) == []


def test_the_demo(tmp_path: Path) -> None:
    few = {
        "max_train_examples": 16,
        "max_validation_examples": 4,
        "max_test_examples": 4,
        "max_new_tokens": 8,
    }
    task = {"name": "data-to-text", "dataset_name": "zoo:data-to-text", **few}
    rows = compared(
        tmp_path,
        "--demo",
        f"tasks={json.dumps([task])}",
        "methods=[base, qaa]",
        "seeds=[0]",
        "training.max_steps=2",
        "training.warmup_steps=0",
    )
    assert [(row["method"], row["status"]) for row in rows] == [("base", "done"), ("qaa", "done")]
    assert rows[1]["angles"] > 0
    assert attempts(tmp_path) == []
