"""Counters of the energy that a device has used: NVML on NVIDIA's GPUs, RAPL on CPUs under Linux."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

POWERCAP = Path("/sys/class/powercap")
"""Where Linux shows RAPL, as root, or to everybody where it was allowed."""


class EnergyCounter(ABC):
    """A count of joules that only grows.

    Args:
        kind: which device it covers, in words.
        wraps: whether it must be read now and then, because what it reads begins again at zero.
    """

    kind: str
    wraps: bool

    @abstractmethod
    def read(self) -> float | None:
        """Joules since some fixed moment; None if the device no longer tells."""


class NVMLCounter(EnergyCounter):
    """The energy of one whole GPU since its driver was loaded.

    Args:
        nvml: the module pynvml, initialised.
        handle: NVML's handle of the device.
        name: the device's name.
    """

    wraps = False

    def __init__(self, nvml: Any, handle: Any, name: str) -> None:
        """Keep the handle."""
        self._nvml, self._handle = nvml, handle
        self.kind = f"{name}, the whole device (NVML)"

    def read(self) -> float | None:
        """Joules; NVML counts millijoules."""
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1e3
        except self._nvml.NVMLError:
            return None


class RAPLCounter(EnergyCounter):
    """The energy of all CPU packages of a machine, and of their memory where it is counted.

    Args:
        zones: folders of the powercap tree, none inside the range of another.
        kind: which device they cover.
    """

    wraps = True

    def __init__(self, zones: Sequence[Path], kind: str) -> None:
        """Begin at zero."""
        self.kind = kind
        self._ranges = {zone: int((zone / "max_energy_range_uj").read_text()) for zone in zones}
        self._last = {zone: int((zone / "energy_uj").read_text()) for zone in zones}
        self._microjoules = 0

    def read(self) -> float | None:
        """Joules since this counter was made; right as long as no zone wraps twice between two reads."""
        for zone, last in self._last.items():
            try:
                now = int((zone / "energy_uj").read_text())
            except (OSError, ValueError):
                return None
            self._microjoules += now - last if now >= last else now - last + self._ranges[zone]
            self._last[zone] = now
        return self._microjoules / 1e6


def find_counter() -> EnergyCounter | None:
    """The counter of the device that torch computes on; None if it has none that may be read."""
    return nvml_counter() if torch.cuda.is_available() else rapl_counter(POWERCAP)


def nvml_counter() -> NVMLCounter | None:
    """The counter of torch's current CUDA device; None without pynvml (nvidia-ml-py) or without a count."""
    try:
        import pynvml  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        # By its identity: CUDA_VISIBLE_DEVICES renumbers torch's devices, not NVML's.
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{properties.uuid}")
        counter = NVMLCounter(pynvml, handle, properties.name)
    except (pynvml.NVMLError, AttributeError, RuntimeError):
        return None
    return counter if counter.read() is not None else None


def rapl_counter(powercap: Path) -> RAPLCounter | None:
    """The counter of this machine's CPUs; None if there is none or it may not be read.

    Args:
        powercap: the folder of Linux's powercap tree.
    """
    packages = [zone for zone in sorted(powercap.glob("intel-rapl:*")) if _name(zone).startswith("package")]
    # A package's count leaves its memory out; "core" and "uncore" lie inside it, "psys" holds all of it.
    memory = [
        zone
        for package in packages
        for zone in sorted(powercap.glob(f"{package.name}:*"))
        if _name(zone) == "dram"
    ]
    if not packages:
        return None
    what = "CPU packages and memory" if memory else "CPU packages"
    try:
        return RAPLCounter([*packages, *memory], f"{what} of the whole machine (RAPL)")
    except (OSError, ValueError):
        return None


def _name(zone: Path) -> str:
    try:
        return (zone / "name").read_text(encoding="ascii").strip()
    except OSError:
        return ""
