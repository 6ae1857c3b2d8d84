"""Locks: one holder at a time, gone with the process that holds them."""

import subprocess
import sys
from pathlib import Path

from amplitune.study.running.locks import Lock, is_held

HOLDER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from locks import Lock
assert Lock(Path(sys.argv[1])).acquire()
lock = Lock(Path(sys.argv[1]))
kept = [Lock(Path(sys.argv[1] + "-2"))]
assert kept[0].acquire()
print("held", flush=True)
time.sleep(600)
"""


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.lock"
    assert not is_held(path)
    first, second = Lock(path), Lock(path)
    assert first.acquire()
    assert is_held(path)
    assert not second.acquire()
    first.release()
    assert path.exists()
    assert second.acquire()
    second.release(remove=True)
    assert not path.exists()
    assert first.acquire()


def test_a_lock_on_a_removed_file_is_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    first, second, third = Lock(path), Lock(path), Lock(path)
    assert first.acquire()
    path.unlink()
    assert second.acquire()
    assert not third.acquire()


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    import amplitune.study.running.locks as module

    path = tmp_path / "a.lock"
    folder = str(Path(module.__file__).parent)
    command = [sys.executable, "-S", "-c", HOLDER, str(path), folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        held = path.with_name("a.lock-2")
        assert not is_held(path)  # nobody kept it
        assert is_held(held)
        process.kill()
        process.wait()
    assert not is_held(held)
