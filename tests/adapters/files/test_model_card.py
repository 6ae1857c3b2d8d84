"""The model card of a saved adapter: peft's own, with what to import."""

from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard
from peft import PeftModel
from tests.adapters.conftest import Architecture, MakeConfig, Wrap

HEADING = "## How to load this adapter"


def test_the_card_says_what_to_import(method: str, llama: Architecture, wrap: Wrap, tmp_path: Path) -> None:
    model = wrap(method, llama)
    model.save_pretrained(str(tmp_path))
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data["library_name"] == "peft"
    section = card.text.split(HEADING)[1]
    assert "\nimport amplitune\n" in section
    assert section.index("import amplitune\n") < section.index("PeftModel.from_pretrained(")
    model.save_pretrained(str(tmp_path))
    assert ModelCard.load(tmp_path / "README.md").text.count(HEADING) == 1, "said once"


def test_a_card_that_was_written_by_hand_keeps_its_text(
    method: str, llama: Architecture, wrap: Wrap, tmp_path: Path
) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# Mine\n\nKept.\n", encoding="utf-8")
    wrap(method, llama).save_pretrained(str(tmp_path))
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data["license"] == "mit"
    assert card.text.startswith("# Mine\n\nKept.")
    assert HEADING in card.text


def test_an_adapter_of_another_name_lies_below_the_card(
    method: str, llama: Architecture, wrap: Wrap, make_config: MakeConfig, tmp_path: Path
) -> None:
    model: Any = wrap(method, llama)
    model.add_adapter("second", make_config(method, llama))
    model.save_pretrained(str(tmp_path), selected_adapters=["second"])
    assert HEADING in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in (tmp_path / "second").iterdir() if path.name == "README.md"] == []
    PeftModel.from_pretrained(llama.model(), str(tmp_path / "second"))


def test_other_files_are_left_alone(
    method: str, llama: Architecture, make_config: MakeConfig, tmp_path: Path
) -> None:
    (tmp_path / "README.md").write_text("# A project\n", encoding="utf-8")
    make_config(method, llama).save_pretrained(str(tmp_path / "config"))
    make_config(method, llama).save_pretrained(str(tmp_path))
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "# A project\n"
