"""peft's test suites, taken from the source distribution of the installed version."""

import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

SUITES = (
    "test_config.py",
    "test_custom_models.py",
    "test_decoder_models.py",
    "test_encoder_decoder_models.py",
    "test_feature_extraction_models.py",
    "test_seq_classifier.py",
    "test_token_classification_qa.py",
)
"""The suites that are parametrised by the class of the config."""

SHARED = ("testing_common.py", "testing_utils.py")
"""What the suites import from beside them."""


def fetch(folder: Path) -> Path:
    """Download and unpack the source distribution of the installed peft, once.

    Args:
        folder: where it goes; kept for the next run.

    Returns:
        The unpacked distribution.

    Raises:
        RuntimeError: pip cannot download it.
    """
    name = f"peft-{version('peft')}"
    unpacked = folder / name
    if (unpacked / "tests").is_dir():
        return unpacked
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-binary", ":all:", "--dest", str(folder), name.replace("-", "==")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    archive = folder / f"{name}.tar.gz"
    if done.returncode or not archive.is_file():
        raise RuntimeError(
            f"pip cannot download the source distribution of {name}, which carries its tests: "
            f"{done.stderr.strip()[-500:]} Give an unpacked one with --peft PATH."
        )
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return unpacked


def lay_out(distribution: Path, folder: Path) -> list[Path]:
    """Copy the suites to where they run, as a package, so that they find each other.

    Args:
        distribution: an unpacked source distribution of peft.
        folder: the working folder of the run.

    Returns:
        The suites in `folder`.

    Raises:
        FileNotFoundError: a suite is missing; peft has renamed it.
    """
    tests = folder / "tests"
    tests.mkdir(parents=True, exist_ok=True)
    (tests / "__init__.py").touch()
    for name in (*SUITES, *SHARED):
        source = distribution / "tests" / name
        if not source.is_file():
            raise FileNotFoundError(
                f"{source} is missing: this is no source distribution of peft 0.21 or newer."
            )
        (tests / name).write_bytes(source.read_bytes())
    return [tests / name for name in SUITES]
