"""The executor that a study asks for."""

from pathlib import Path

import torch

from amplitune.errors import ConfigError
from amplitune.study.execution.executors.devices import visible_devices
from amplitune.study.execution.executors.executor import Executor
from amplitune.study.execution.executors.local import LocalExecutor
from amplitune.study.running.distributed.processes import check_gpus, gpus_of_run
from amplitune.study.settings.config import StudyConfig


def executor_of(study: StudyConfig, directory: Path) -> Executor:
    """Make the executor of a study.

    Args:
        study: the study.
        directory: its folder.

    Raises:
        ConfigError: this machine or the cluster does not have what the study asks for.
    """
    if study.executor == "ray":
        from amplitune.study.execution.executors.ray_cluster import RayExecutor

        return RayExecutor(study.ray_address, directory)
    devices = visible_devices(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    if devices and gpus_of_run(study) > len(devices):
        check_gpus(study.processes_per_run, len(devices))
        raise ConfigError(
            f"`gpus_per_run` must be at most the {len(devices)} GPUs of this machine, but is "
            f"{study.gpus_per_run:g}. Lower it."
        )
    return LocalExecutor(study.workers, devices)
