"""What the model card of a saved adapter says of the package that it needs."""

from pathlib import Path

from huggingface_hub import ModelCard

_HEADING = "## How to load this adapter"
_CARD = "README.md"


def say_what_to_import(folder: Path) -> None:
    """Write into the card of an adapter how it is loaded.

    peft writes the card of a model before it saves the adapters: that of the default adapter into the same
    folder, others into folders below it. A card that has the section, or a folder without a card, is left
    alone.

    Args:
        folder: where an adapter is being saved.
    """
    path = next((path for path in (folder / _CARD, folder.parent / _CARD) if path.is_file()), None)
    if path is None:
        return
    card = ModelCard.load(path)
    if card.data.get("library_name") != "peft" or _HEADING in card.text:
        return
    card.text = f"{card.text.rstrip()}\n\n{_HEADING}\n\n{_SECTION}"
    card.save(path)


_SECTION = """\
Its method is one that the Python package `amplitune` adds to peft. Import that before the adapter is opened;
without it, peft stops with a `KeyError` that names the method.

```python
import amplitune
from peft import PeftModel

model = PeftModel.from_pretrained(base_model, "path/of/this/adapter")
```
"""
