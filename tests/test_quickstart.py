"""The quickstart of the README runs as it stands, offline, and does what it prints."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_quickstart_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "quickstart.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests" / "offline")},
    )
    assert done.returncode == 0, done.stderr
    count, same = done.stdout.splitlines()
    assert re.fullmatch(r"[\d,]+ trainable \([\d,]+ angles, [\d,]+ classical\) of [\d,]+: [\d.]+ %", count)
    assert same == "True"
    saved = sorted(path.name for path in (tmp_path / "quickstart-adapter").iterdir())
    assert saved == ["README.md", "adapter_config.json", "adapter_model.safetensors"]


def test_the_readme_shows_the_quickstart_as_it_runs() -> None:
    code = (ROOT / "examples" / "quickstart.py").read_text(encoding="utf-8").split('"""\n\n', 1)[1]
    assert len([line for line in code.splitlines() if line and "import" not in line]) <= 12
    assert f"```python\n{code}```" in (ROOT / "README.md").read_text(encoding="utf-8")
