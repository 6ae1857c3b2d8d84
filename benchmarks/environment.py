"""What a benchmark ran on, so that its ratios can be judged and repeated."""

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from typing import Any

import torch

from amplitune.study.running.environment import describe_environment

#: Distributions beside the study's own whose versions can change a ratio.
PACKAGES = ("triton", "pennylane", "pennylane_lightning", "pyqtorch")


def describe(commit: str | None = None) -> dict[str, Any]:
    """Versions, processor, threads, load and date; no host name, user name or path.

    Args:
        commit: the commit, where the folder that runs is not a git repository.

    Returns:
        Plain values for JSON. `load` is the mean number of busy processes in the minute before: near 0 on a
        quiet machine; under load a benchmark is noisy.
    """
    environment = describe_environment()
    # A kernel's release may carry the name of a host or of a provider.
    environment["platform"] = f"{platform.system()} {platform.machine()}"
    environment["amplitune_commit"] = commit or environment["amplitune_commit"]
    for name in PACKAGES:
        try:
            environment["packages"][name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        environment["device_bytes"] = properties.total_memory
        environment["device_multiprocessors"] = properties.multi_processor_count
    environment["load"] = round(os.getloadavg()[0], 2)
    environment["date"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ")
    return environment
