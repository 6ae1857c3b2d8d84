"""Run peft's suites on our configs, offline: `python -m conformance [options of pytest]`."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from conformance.models import save_models
from conformance.sdist import fetch, lay_out

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "peft-conformance"


def main(arguments: list[str]) -> int:
    """Fetch the suites, make the models, and run pytest among them; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    parser.add_argument("--peft", type=Path, help="an unpacked source distribution of the installed peft")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where suites and models go")
    options, pytest_options = parser.parse_known_args(arguments)
    folder: Path = options.folder.resolve()
    suites = lay_out(options.peft or fetch(folder), folder / "run")
    save_models(folder / "run")
    (folder / "run" / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    named = [option for option in pytest_options if option.split("::")[0].endswith(".py")]
    command = [sys.executable, "-m", "pytest", "-c", "pytest.ini", "--rootdir", "."]
    command += ["-p", "conformance.plugin", "-p", "no:cacheprovider", "--disable-warnings", "-q"]
    command += pytest_options
    if not named:
        command += [str(suite.relative_to(folder / "run")) for suite in suites]
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
    }
    return subprocess.run(command, cwd=folder / "run", env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
