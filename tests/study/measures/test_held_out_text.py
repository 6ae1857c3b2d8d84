"""Held-out text from files and from the generator, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from tests.study.tiny_models import study_values

from amplitune.errors import ConfigError, DataError
from amplitune.study.measures.held_out_text import check_held_out, read_held_out
from amplitune.study.settings.config import StudyConfig
from amplitune.zoo.held_out import held_out_documents


def written(folder: Path, name: str, content: str) -> str:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return str(path)


def test_documents_are_separated_by_blank_lines(tmp_path: Path) -> None:
    path = written(tmp_path, "a.txt", "\ufeffone\ntwo\n\n  \n three \r\n\r\nfour\n")
    assert read_held_out(path) == ["one\ntwo", "three", "four"]
    assert read_held_out(written(tmp_path, "b.txt", "one\ntwo\n")) == ["one\ntwo"]


def test_json_lines_hold_a_document_each(tmp_path: Path) -> None:
    path = written(
        tmp_path, "a.jsonl", '{"text": "one\\n\\ntwo", "id": 3}\n\n{"text": " "}\n{"text": "three"}'
    )
    assert read_held_out(path) == ["one\n\ntwo", "three"]


def test_the_bundled_text() -> None:
    assert read_held_out("zoo:text") == held_out_documents()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", " \n\n ", "must hold some text"),
        ("a.jsonl", '{"text": "x"}\n{"text": 3}\n', r"a\.jsonl:2 has the columns text"),
        ("a.jsonl", '{"prompt": "x"}\n', r"a\.jsonl:1 has the columns prompt"),
        ("a.jsonl", '["x"]\n', r"a\.jsonl:1 is a list"),
        ("a.jsonl", "{x}\n", r"a\.jsonl:1 is not readable"),
        ("a.csv", "text\nx\n", r"must be 'zoo:text' or end in \.txt or \.jsonl"),
    ],
)
def test_what_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_held_out(written(tmp_path, name, content))


def test_what_is_not_there(tmp_path: Path) -> None:
    written(tmp_path, "held.txt", "x")
    with pytest.raises(DataError, match=r"is not there\.\nDid you mean 'held\.txt'"):
        read_held_out(str(tmp_path / "hold.txt"))
    with pytest.raises(DataError, match="Did you mean 'zoo:text'"):
        read_held_out("zoo:texts")
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    with pytest.raises(DataError, match="must be UTF-8"):
        read_held_out(str(tmp_path / "latin.txt"))


def study(folder: Path, source: str | None, *kinds: str | None) -> StudyConfig:
    values: dict[str, Any] = study_values(folder) | {"held_out_text": source}
    (task,) = values["tasks"]
    values["tasks"] = [task | {"name": f"t{i}", "kind": kind} for i, kind in enumerate(kinds)]
    return StudyConfig.parse(values)


def test_a_study_is_checked_without_a_model(tiny: Path, tmp_path: Path) -> None:
    check_held_out(study(tiny, None, "classification"))
    check_held_out(study(tiny, "zoo:text", "classification", "generation"))
    check_held_out(study(tiny, "zoo:text", None))
    with pytest.raises(DataError, match="is not there"):
        check_held_out(study(tiny, str(tmp_path / "no.txt"), "generation"))
    with pytest.raises(ConfigError, match="must be unset where no task generates text"):
        check_held_out(study(tiny, "zoo:text", "classification"))
