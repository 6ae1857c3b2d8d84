"""Available memory: the machine's, or what a control group leaves of it."""

from pathlib import Path

import psutil
import pytest

from amplitune.study.execution.executors.available_memory import available_memory

MACHINE = 1 << 40


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    class Memory:
        available = MACHINE

    monkeypatch.setattr(psutil, "virtual_memory", Memory)


def group(folder: Path, most: str, used: int, cache: int, version: int = 2) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = (
        ("memory.max", "memory.current")
        if version == 2
        else (
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
        )
    )
    (folder / names[0]).write_text(f"{most}\n")
    (folder / names[1]).write_text(f"{used}\n")
    key = "inactive_file" if version == 2 else "total_inactive_file"
    (folder / "memory.stat").write_text(f"anon {used - cache}\n{key} {cache}\n")


def own(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "own"
    path.write_text(text)
    return path


def test_without_control_groups_it_is_the_machines(tmp_path: Path) -> None:
    assert available_memory(tmp_path / "none", tmp_path / "absent") == MACHINE


def test_a_limit_of_the_group_or_of_one_above_it(tmp_path: Path) -> None:
    root, mine = tmp_path / "cgroup", own(tmp_path, "0::/slice/job\n")
    group(root / "slice" / "job", "max", 500, 100)
    assert available_memory(root, mine) == MACHINE
    group(root / "slice", "1000", 700, 200)
    assert available_memory(root, mine) == 500
    group(root / "slice" / "job", "800", 500, 100)
    assert available_memory(root, mine) == 400
    group(root / "slice" / "job", "300", 500, 100)
    assert available_memory(root, mine) == 0


def test_inside_a_container_the_mount_is_the_group(tmp_path: Path) -> None:
    root, mine = tmp_path / "cgroup", own(tmp_path, "0::/docker/abc\n")
    group(root, "1000", 600, 0)
    assert available_memory(root, mine) == 400


def test_version_one(tmp_path: Path) -> None:
    root, mine = tmp_path / "cgroup", own(tmp_path, "4:cpu,cpuacct:/job\n3:memory:/job\n")
    group(root / "memory" / "job", "1000", 600, 50, version=1)
    group(root / "memory", str(2**63 - 4096), 600, 0, version=1)
    assert available_memory(root, mine) == 450


def test_this_machine_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert 0 < available_memory() <= psutil.virtual_memory().total
