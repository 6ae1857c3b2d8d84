"""The memory that a new process may take: what the machine has, within the limits of control groups."""

from collections.abc import Iterator
from pathlib import Path

import psutil

CGROUPS, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def available_memory(cgroups: Path = CGROUPS, own: Path = OWN) -> int:
    """Memory that can be had without swapping, in bytes.

    A container's limit is one of its control group or of a group above it; what a group uses counts without
    the file pages that the kernel can drop.

    Args:
        cgroups: where the control groups are mounted (Linux).
        own: the file that names those of this process.
    """
    machine = int(psutil.virtual_memory().available)
    return min([machine, *(left for folder in _groups(cgroups, own) if (left := _left(folder)) is not None)])


def _groups(cgroups: Path, own: Path) -> Iterator[Path]:
    """The folders of this process's groups with a say in memory, from its own up."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            root = cgroups  # version 2
        elif "memory" in controllers.split(","):
            root = cgroups / "memory"
        else:
            continue
        # Inside a container the name may be that of the host: then the mount itself is the group.
        folder = root / name.lstrip("/")
        while folder != root:
            yield folder
            folder = folder.parent
        yield root


def _left(folder: Path) -> int | None:
    """What a group may still take; None where it has no limit."""
    for limit, usage, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most = int((folder / limit).read_text(encoding="ascii"))
            used = int((folder / usage).read_text(encoding="ascii"))
            statistics = (folder / "memory.stat").read_text(encoding="ascii").split()
        except (OSError, ValueError):  # "max" is no number: no limit
            continue
        pairs = dict(zip(statistics[::2], statistics[1::2], strict=False))
        return max(most - used + int(pairs.get(cache, 0)), 0)
    return None
