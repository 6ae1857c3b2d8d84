"""What a run was computed with: versions, processor, threads, device."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch

PACKAGES = (
    "amplitune",
    "torch",
    "transformers",
    "peft",
    "trl",
    "accelerate",
    "datasets",
    "tokenizers",
    "numpy",
    "sacrebleu",
    "rouge-score",
    "scikit-learn",
    "bert-score",
)
"""Distributions whose versions can change a result."""


def describe_environment() -> dict[str, Any]:
    """Versions and hardware of this process; holds no user name, host name or path."""
    cuda = torch.cuda.is_available()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "cuda": torch.version.cuda if cuda else None,
        "amplitune_commit": commit(),
        "packages": {name: version for name in PACKAGES if (version := _version(name)) is not None},
    }


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


@cache
def commit() -> str | None:
    """The commit that this package runs from, "-dirty" after it if files differ; None where installed.

    A process keeps the answer of its first call, as do those that are forked from it: what it has imported
    is what it runs, whatever is edited meanwhile.
    """
    git = shutil.which("git")
    if git is None:
        return None
    package = Path(__file__).resolve().parents[2]
    # An installed package may lie in a folder of somebody else's repository, which does not track it.
    commands = (
        ("ls-files", "--error-unmatch", "__init__.py"),
        ("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"),
    )
    output = ""
    for command in commands:
        done = subprocess.run(
            [git, "-C", str(package), *command], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            return None
        output = done.stdout.strip()
    return output


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        return platform.processor() or platform.machine()
    return platform.processor() or platform.machine()
