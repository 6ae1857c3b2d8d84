"""The examination of an installation: each state with its remedy, and no network unless asked."""

import importlib.metadata
import tomllib
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.requirements import Requirement

from amplitune.quantum.kernels import native_build
from amplitune.study.planning import doctor
from amplitune.study.planning.doctor import EXTRAS, Finding, examine

PROJECT = Path(__file__).parents[3] / "pyproject.toml"
NOT_FOR_USERS = {"dev"}


def found(findings: Any, subject: str) -> Finding:
    (finding,) = [finding for finding in findings if subject in finding.subject]
    return finding


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """What the metadata says is installed; filled by a test to say otherwise."""
    versions: dict[str, str | None] = {}
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name not in versions:
            return real(name)
        value = versions[name]
        if value is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return value

    monkeypatch.setattr(importlib.metadata, "version", version)
    return versions


def declare(monkeypatch: pytest.MonkeyPatch, *requirements: str) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: list(requirements))


def test_each_extra_says_what_it_is_for() -> None:
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    declared = set(project["optional-dependencies"]) - NOT_FOR_USERS
    assert len(declared) >= 4
    assert declared <= set(EXTRAS)


def test_this_installation_can_be_used() -> None:
    findings = examine()
    assert [finding for finding in findings if finding.state == "problem"] == []
    assert all(finding.remedy for finding in findings if finding.state != "ok")
    names = {
        Requirement(text).name for text in importlib.metadata.requires("amplitune") or [] if ";" not in text
    }
    assert len(names) >= 18
    assert names <= {finding.subject for finding in findings}
    assert found(findings, "CPU").state == "ok"
    assert found(findings, "circuit on cpu").found.startswith("the ")


def test_packages_out_of_range(monkeypatch: pytest.MonkeyPatch, installed: dict[str, str | None]) -> None:
    declare(monkeypatch, "peft>=0.21", "trl>=1.0", "rich>=13", "extra-thing; extra == 'ray'")
    installed |= {"peft": "0.19.1", "trl": None}
    findings = list(doctor.python_and_packages())
    assert found(findings, "peft").line() == (
        "problem  peft: is 0.19.1, but must be >=0.21 -> pip install 'peft>=0.21'"
    )
    assert found(findings, "trl").line() == "problem  trl: is not installed -> pip install 'trl>=1.0'"
    assert found(findings, "rich").state == "ok"
    assert not any("extra-thing" in finding.subject for finding in findings)


def test_a_missing_extra_has_its_command(
    monkeypatch: pytest.MonkeyPatch, installed: dict[str, str | None]
) -> None:
    declare(monkeypatch, "bert-score>=0.3; extra == 'bertscore'", "ray[default]>=2.40; extra == 'ray'")
    installed |= {"bert-score": None, "ray": "2.41"}
    findings = list(doctor.extras())
    missing = found(findings, "extra bertscore")
    assert (missing.state, missing.remedy) == ("missing", "pip install 'amplitune[bertscore]'")
    assert found(findings, "extra ray").state == "ok"


def test_without_a_compiler_the_other_kernel_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_build, "load", lambda: "no C compiler (cc, gcc, clang) on the PATH; set CC")
    finding = found(doctor.kernels(), "native kernel")
    assert finding.state == "missing"
    assert "Install a C compiler" in finding.remedy


def test_folders_that_cannot_be_written_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AMPLITUNE_CACHE", str(tmp_path / "file" / "tokens"))
    assert found(doctor.folders(), "cache of tokens").state == "missing"
    monkeypatch.setenv("AMPLITUNE_CACHE", str(tmp_path / "new" / "tokens"))
    assert found(doctor.folders(), "cache of tokens").state == "ok"
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU")
def test_no_gpu_is_no_problem() -> None:
    finding = found(doctor.devices(), "GPU")
    assert finding.state == "missing"
    assert "CPU" in finding.found


def test_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "available_memory", lambda: 10_000_000)
    assert found(doctor.devices(), "memory").state == "missing"


OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")


def test_the_hub_is_asked_only_when_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OFFLINE:
        monkeypatch.delenv(name, raising=False)
    asked = []

    def refuse(request: Any, timeout: float) -> None:
        asked.append(timeout)
        raise OSError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    assert found(doctor.hub(network=False), "hub").state == "ok"
    assert asked == []
    finding = found(doctor.hub(network=True), "hub")
    assert (finding.state, len(asked)) == ("missing", 1)
    assert "HF_HUB_OFFLINE=1" in finding.remedy


@pytest.mark.parametrize("name", OFFLINE)
def test_offline_is_said(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for other in OFFLINE:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "1")
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("it asked"))
    assert name in found(doctor.hub(network=True), "hub").found
