"""The held-out text that forgetting is measured on."""

import json
import re
from pathlib import Path

from amplitune.errors import ConfigError, DataError, near_matches
from amplitune.study.settings.config import StudyConfig

BUNDLED = "zoo:text"
"""Documents of the bundled model's pretraining distribution that no bundled task is about."""

SUFFIXES = (".txt", ".jsonl")


def check_held_out(study: StudyConfig) -> None:
    """Check `held_out_text` without a model.

    Args:
        study: the study; a task whose kind is not known yet may be one of generation.

    Raises:
        ConfigError: it is set although no task generates text, where it would have no effect.
        DataError: see `read_held_out`.
    """
    if study.held_out_text is None:
        return
    if all(task.kind == "classification" for task in study.tasks):
        raise ConfigError(
            "`held_out_text` must be unset where no task generates text, because a classifier has no "
            f"perplexity, but is {study.held_out_text!r}.\nRemove it, or add a generation task."
        )
    read_held_out(study.held_out_text)


def read_held_out(source: str) -> list[str]:
    """Read the held-out text.

    Args:
        source: "zoo:text"; a .txt file, whose documents are separated by blank lines (one document where
            there are none); or a .jsonl file with a document in `text` on each line.

    Returns:
        The documents, without the space around them; empty ones are left out.

    Raises:
        DataError: there is no such file, it is of another kind, or it has no text.
    """
    if source.startswith("zoo:"):
        if source != BUNDLED:
            raise DataError(
                f"`held_out_text` must be {BUNDLED!r}, a .txt file or a .jsonl file, but is {source!r}.\n"
                f"{near_matches(source, [BUNDLED])}"
            )
        # Imported here: a study on files needs no generator.
        from amplitune.zoo.held_out import held_out_documents

        return held_out_documents()
    path = Path(source).expanduser()
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(
            f"`held_out_text` must be {BUNDLED!r} or end in {' or '.join(SUFFIXES)}, but is {source!r}.\n"
            "Convert the file, or give it the suffix of what it holds."
        )
    if not path.is_file():
        beside = [file.name for file in path.parent.glob("*") if file.suffix.lower() in SUFFIXES]
        hint = near_matches(path.name, beside) if beside else f"No such file lies in {path.parent}."
        raise DataError(f"`held_out_text` must be an existing file, but {source!r} is not there.\n{hint}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"`held_out_text` must be UTF-8 text, but {source!r} is not: {error}.\nConvert it to UTF-8."
        ) from error
    if path.suffix.lower() == ".jsonl":
        documents = [
            _text_of(line, f"{path}:{i}") for i, line in enumerate(text.split("\n"), 1) if line.strip()
        ]
    else:
        documents = re.split(r"\n[ \t\r]*\n", text)
    documents = [document.strip() for document in documents if document.strip()]
    if not documents:
        raise DataError(
            f"`held_out_text` must hold some text, but {source!r} holds none.\nGive another file."
        )
    return documents


def _text_of(line: str, where: str) -> str:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"Each line of `held_out_text` must be one JSON object, but {where} is not readable: {error.msg} "
            f"at column {error.colno}.\nCorrect or delete that line."
        ) from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        found = f"has the columns {', '.join(row)}" if isinstance(row, dict) else f"is a {type(row).__name__}"
        raise DataError(
            f"Each line of `held_out_text` must be an object with a string `text`, but {where} {found}.\n"
            'Write it as {"text": "..."}.'
        )
    return str(row["text"])
