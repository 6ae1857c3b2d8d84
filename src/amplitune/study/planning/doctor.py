"""What an installation has and lacks: versions, extras, devices, kernels, folders, the hub."""

import importlib.metadata
import os
import platform
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from amplitune.quantum import Circuit
from amplitune.quantum.kernels import native_build
from amplitune.quantum.kernels.dispatch import KERNELS, choose
from amplitune.quantum.program import program_of
from amplitune.study.execution.executors.available_memory import available_memory

State = Literal["ok", "missing", "problem"]

DISTRIBUTION = "amplitune"

EXTRAS = {
    "tuning": "tuning with equal budgets (`tuning` in a study)",
    "bertscore": "the metric bertscore_f1",
    "quantum": "exports of circuits to PennyLane and Qiskit, and their transpiling",
    "ray": "runs on a Ray cluster (`executor: ray`)",
    "energy": "energy of NVIDIA GPUs",
    "quantized": "base models in 8 and 4 bits",
    "conformance": "peft's own test suites on the adapters (`make peft-conformance`)",
    "triton": "the circuits' kernel on NVIDIA GPUs, where torch does not bring Triton along",
}
"""What each extra is for."""

LITTLE = 2_000_000_000
"""Bytes of memory or disk under which a study of any model of use is unlikely to fit."""


@dataclass(frozen=True)
class Finding:
    """One line of the examination.

    Args:
        state: "ok"; "missing": a choice that is not there; "problem": amplitune cannot work as it is.
        subject: what was looked at.
        found: what it is.
        remedy: what to do, unless it is ok.
    """

    state: State
    subject: str
    found: str
    remedy: str = ""

    def line(self) -> str:
        """The finding as a line of text."""
        return f"{self.state:<8} {self.subject}: {self.found}" + (f" -> {self.remedy}" if self.remedy else "")

    def data(self) -> dict[str, str]:
        """The finding as plain values."""
        return asdict(self)


def examine(network: bool = False) -> list[Finding]:
    """Look at the installation and the machine.

    Args:
        network: ask the hub for an answer; otherwise nothing is asked of any network.

    Returns:
        The findings, in the order in which they are shown.
    """
    parts: tuple[Callable[[], Iterator[Finding]], ...] = (
        python_and_packages,
        extras,
        devices,
        kernels,
        folders,
        lambda: hub(network),
    )
    return [finding for part in parts for finding in part()]


def python_and_packages() -> Iterator[Finding]:
    """Python and the packages that amplitune needs, against the ranges that it declares."""
    metadata = importlib.metadata.metadata(DISTRIBUTION)
    wanted = metadata["Requires-Python"]
    fits = platform.python_version() in SpecifierSet(wanted)
    found = f"{platform.python_version()} on {platform.platform()}"
    remedy = "" if fits else f"Use a Python {wanted}."
    yield Finding("ok" if fits else "problem", "Python", found, remedy)
    yield Finding("ok", DISTRIBUTION, metadata["Version"])
    for requirement in _requirements():
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        fault = _fault(requirement)
        found = fault or _version(requirement.name) or ""
        remedy = f"pip install '{_plain(requirement)}'" if fault else ""
        yield Finding("problem" if fault else "ok", requirement.name, found, remedy)


def extras() -> Iterator[Finding]:
    """The extras for users: what each is for, and the command that adds a missing one."""
    declared = importlib.metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    for extra in declared:
        if extra not in EXTRAS:
            continue
        needed = [
            requirement
            for requirement in _requirements()
            if requirement.marker is not None
            and requirement.marker.evaluate({"extra": extra})
            and not requirement.marker.evaluate({"extra": ""})
        ]
        faults = [f"{requirement.name} {fault}" for requirement in needed if (fault := _fault(requirement))]
        versions = ", ".join(f"{requirement.name} {_version(requirement.name)}" for requirement in needed)
        subject = f"extra {extra}, for {EXTRAS[extra]}"
        if faults:
            yield Finding("missing", subject, ", ".join(faults), f"pip install '{DISTRIBUTION}[{extra}]'")
        else:
            yield Finding("ok", subject, versions or "not for this platform")


def devices() -> Iterator[Finding]:
    """The processor, memory and disk, and the CUDA devices."""
    yield Finding("ok", "CPU", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads of torch")
    for subject, free in (("memory", available_memory()), ("disk here", shutil.disk_usage(Path.cwd()).free)):
        little = free < LITTLE
        found = f"{free / 1e9:.1f} GB free"
        remedy = f"Free some: under {LITTLE / 1e9:.0f} GB few models fit." if little else ""
        yield Finding("missing" if little else "ok", subject, found, remedy)
    if not torch.cuda.is_available():
        built = torch.version.cuda or torch.version.hip
        reason = "no device is visible" if built else "this torch is built without CUDA"
        remedy = (
            "Check the driver and CUDA_VISIBLE_DEVICES." if built else "See pytorch.org for one with CUDA."
        )
        yield Finding("missing", "GPU", f"{reason}; everything runs on the CPU", remedy)
        return
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        yield Finding("ok", f"GPU {index}", f"{name}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free")


def kernels() -> Iterator[Finding]:
    """Whether the native kernel compiles, and which kernel runs the paper's circuit on each device."""
    loaded = native_build.load()
    if isinstance(loaded, str):
        remedy = (
            "Install a C compiler (cc, gcc or clang) or set CC; until then the torch kernel runs, slower."
        )
        yield Finding("missing", "native kernel", loaded, remedy)
    else:
        yield Finding("ok", "native kernel", f"compiled with {' '.join(native_build.compiler()[0])}")
    program = program_of(Circuit(11))
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        x = torch.zeros(1, 2048, device=device)
        chosen = choose(program, x).name
        before = list(KERNELS)[: list(KERNELS).index(chosen)]
        why = "; ".join(f"{name}: {KERNELS[name].unsupported(program, x)}" for name in before)
        yield Finding(
            "ok", f"QAA's circuit on {device}", f"the {chosen} kernel" + (f" ({why})" if why else "")
        )


def folders() -> Iterator[Finding]:
    """Whether the folders can be written to that models, tokens and compiled kernels are kept in."""
    from huggingface_hub import constants

    from amplitune.study.data.token_cache import cache_folder as token_folder

    variable = {"models": "HF_HOME", "kernels": "XDG_CACHE_HOME", "tokens": "AMPLITUNE_CACHE"}
    places: dict[str, Path | None] = {"models": Path(constants.HF_HUB_CACHE), "tokens": token_folder()}
    try:
        places["kernels"] = native_build.cache_folder()
    except native_build.UnavailableError as error:
        yield Finding(
            "missing", "cache of kernels", str(error), "Set XDG_CACHE_HOME to a folder of your own."
        )
    for what, folder in places.items():
        if folder is None:
            continue
        if _writable(folder):
            yield Finding("ok", f"cache of {what}", str(folder))
        else:
            remedy = f"Set {variable[what]} to a folder that can be written to."
            yield Finding("missing", f"cache of {what}", f"{folder} cannot be written to", remedy)


def hub(network: bool) -> Iterator[Finding]:
    """Whether models and data can be had from the hub."""
    from huggingface_hub import constants

    set_variables = [
        name
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
        if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")
    ]
    if set_variables:
        yield Finding("ok", "hub", f"offline by {', '.join(set_variables)}: what is on disk is used")
        return
    if not network:
        yield Finding("ok", "hub", "not asked; --network asks whether it can be reached")
        return
    try:
        request = urllib.request.Request(constants.ENDPOINT, method="HEAD")  # noqa: S310 - the hub's own address
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            yield Finding("ok", "hub", f"{constants.ENDPOINT} answers ({answer.status})")
    except urllib.error.HTTPError as error:
        yield Finding("ok", "hub", f"{constants.ENDPOINT} answers ({error.code})")
    except OSError as error:
        remedy = "Use local folders for models and data, and set HF_HUB_OFFLINE=1."
        yield Finding("missing", "hub", f"{constants.ENDPOINT} does not answer: {error}", remedy)


def _requirements() -> list[Requirement]:
    return [Requirement(text) for text in importlib.metadata.requires(DISTRIBUTION) or []]


def _fault(requirement: Requirement) -> str:
    """What is wrong with what is installed; "" if nothing is."""
    version = _version(requirement.name)
    if version is None:
        return "is not installed"
    if not requirement.specifier.contains(version, prereleases=True):
        return f"is {version}, but must be {requirement.specifier}"
    return ""


def _plain(requirement: Requirement) -> str:
    """A requirement without its marker, for pip."""
    wanted = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{wanted}{requirement.specifier}"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _writable(folder: Path) -> bool:
    """Whether a folder can be written to, or made where it is not there yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | (os.X_OK if sys.platform != "win32" else 0))
