"""Make the golden adapters: `python -m tests.adapters.files.golden.make`, once for each format version.

A folder v<version>/<name> holds an adapter as save_pretrained wrote it when that version was current, with
inputs and the outputs that it had then. These files stay as they are: an adapter that was saved then must
load today and compute the same. A case that is there is never written again. Where a test of them fails,
amplitune has changed what saved adapters compute: undo the change, or give it the next format version and
make that version's folder.
"""

from pathlib import Path

import peft
import torch
from safetensors.torch import save_file
from tests.adapters.files.golden.cases import CONFIGS, FOLDER, base, fill, inputs

from amplitune.adapters.files.file_format import FORMAT_VERSION


def make(name: str, folder: Path) -> None:
    """Write one case."""
    model = peft.get_peft_model(base(name), CONFIGS[name]())
    trained = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    fill(model, 10_000, lambda key: key in trained or "angles" in key)
    model.save_pretrained(str(folder))
    (folder / "README.md").unlink()
    with torch.no_grad():
        save_file({"inputs": inputs(), "outputs": model.eval()(inputs())}, folder / "expected.safetensors")


if __name__ == "__main__":
    for case in CONFIGS:
        where = FOLDER / f"v{FORMAT_VERSION}" / case
        if not where.exists():
            make(case, where)
