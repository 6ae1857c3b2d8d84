"""Energy from a powercap tree that the test writes, and from an NVML that it plays."""

import json
import sys
import time
import types
from pathlib import Path

import pytest
import torch

from amplitune.study.measures.energy import EnergyMeter
from amplitune.study.measures.energy_counters import NVMLCounter, find_counter, nvml_counter, rapl_counter


def zone(powercap: Path, folder: str, name: str, microjoules: int, limit: int = 1_000_000) -> Path:
    """A zone as Linux shows it: all of them beside each other, a part's number after its package's."""
    path = powercap / folder
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    (path / "max_energy_range_uj").write_text(f"{limit}\n")
    return path


def set_energy(path: Path, microjoules: int) -> None:
    (path / "energy_uj").write_text(f"{microjoules}\n")


@pytest.fixture
def zones(tmp_path: Path) -> dict[str, Path]:
    """Two packages with their parts, and the board that holds them all."""
    entries = {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:0:1": "dram",
        "intel-rapl:1": "package-1",
        "intel-rapl:2": "psys",
        "intel-rapl-mmio:0": "package-0",
    }
    return {folder: zone(tmp_path, folder, name, 100_000) for folder, name in entries.items()}


def test_packages_and_memory_are_added_and_nothing_twice(zones: dict[str, Path], tmp_path: Path) -> None:
    counter = rapl_counter(tmp_path)
    assert counter is not None
    with EnergyMeter(counter) as meter:
        for number, path in enumerate(zones.values()):
            set_energy(path, 100_000 + 10**number)
    # package-0, dram and package-1: 1, 100 and 1000 microjoules; core, psys and the second view of package-0
    # lie inside of these.
    assert meter.joules == pytest.approx(1101e-6)
    assert meter.kind == "CPU packages and memory of the whole machine (RAPL)"


def test_a_counter_that_wraps_is_followed(tmp_path: Path) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", 900_000)
    counter = rapl_counter(tmp_path)
    assert counter is not None
    with EnergyMeter(counter, seconds_between_reads=0.01) as meter:
        total = 0
        # Twice round: each wrap falls between two reads of the meter's own.
        for microjoules in (300_000, 800_000, 200_000):
            total += 400_000 if microjoules != 800_000 else 500_000
            set_energy(path, microjoules)
            seen = counter._last
            deadline = time.monotonic() + 5
            while seen[path] != microjoules and time.monotonic() < deadline:
                time.sleep(0.005)
    assert meter.joules == pytest.approx(total / 1e6)
    assert meter.kind == "CPU packages of the whole machine (RAPL)"


def test_what_may_not_be_read_is_blank(zones: dict[str, Path], tmp_path: Path) -> None:
    assert rapl_counter(tmp_path / "nothing") is None
    counter = rapl_counter(tmp_path)
    assert counter is not None
    with EnergyMeter(counter) as meter:
        (zones["intel-rapl:1"] / "energy_uj").unlink()
    assert (meter.joules, meter.kind) == (None, None)
    assert rapl_counter(tmp_path) is None


def test_an_error_in_the_block_passes_through(zones: dict[str, Path], tmp_path: Path) -> None:
    counter = rapl_counter(tmp_path)
    assert counter is not None
    with pytest.raises(KeyError), EnergyMeter(counter) as meter:
        raise KeyError
    assert meter.joules == 0


def test_a_resumed_training_has_the_energy_of_its_parts(tmp_path: Path) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    with EnergyMeter(rapl_counter(tmp_path)) as first:
        set_energy(path, 30_000)
        kept = json.loads(json.dumps(first.state_dict()))
        set_energy(path, 50_000)
    assert first.joules == pytest.approx(0.05)
    # What came after the checkpoint was lost with the process.
    with EnergyMeter(rapl_counter(tmp_path)) as second:
        second.load_state_dict(kept)
        set_energy(path, 60_000)
    assert second.joules == pytest.approx(0.04)
    with EnergyMeter(rapl_counter(tmp_path)) as third:
        third.load_state_dict({"joules": None})
    assert third.joules is None


class NVMLError(Exception):
    """As pynvml's."""


def test_a_gpu_is_found_by_its_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    energy = {"GPU-b": 5_000}

    def read(handle: str) -> int:
        if handle not in energy:
            raise NVMLError
        return energy[handle]

    played = types.ModuleType("pynvml")
    played.__dict__.update(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=read,
    )
    monkeypatch.setitem(sys.modules, "pynvml", played)
    uuids = iter(["b", "c"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda _: types.SimpleNamespace(uuid=next(uuids), name="NVIDIA H200"),
    )
    counter = find_counter()
    assert isinstance(counter, NVMLCounter)
    with EnergyMeter(counter) as meter:
        energy["GPU-b"] = 7_500
    assert (meter.joules, meter.kind) == (2.5, "NVIDIA H200, the whole device (NVML)")
    # A device that does not count, as a slice of one.
    assert nvml_counter() is None
