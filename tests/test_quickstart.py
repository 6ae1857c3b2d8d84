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
    count, losses, loaded = done.stdout.splitlines()
    assert re.fullmatch(r"[\d,]+ trainable \([\d,]+ angles, [\d,]+ classical\) of [\d,]+: [\d.]+ %", count)
    before, after = map(float, re.findall(r"\d+\.\d+", losses))
    assert after < before
    assert loaded == "loaded from quickstart-adapter, same logits: True"
    saved = sorted(path.name for path in (tmp_path / "quickstart-adapter").iterdir())
    assert saved == ["README.md", "adapter_config.json", "adapter_model.safetensors"]
