"""The token cache: the same rows with and without it, and a new entry whenever what decides them changes."""

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.study.chat_templates import CHATML, chat_tokenizer
from transformers import PreTrainedTokenizerFast

from amplitune.study.data import token_cache
from amplitune.study.data import tokens as data
from amplitune.study.data.tasks import Example

EXAMPLES = [
    Example("Name: Kim\n", "Kim lives in Oslo.", ("Kim lives in Oslo.",)),
    Example("The question", "no"),
]
TEXTS = [Example("the answer", label=0), Example("the question is no", label=1)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(token_cache.FOLDER, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The splits that were tokenised, not read."""
    splits: list[str] = []
    for name in ("tokenize_generation", "tokenize_classification"):
        own: Callable[..., Any] = getattr(data, name)

        def recorded(*args: Any, _own: Callable[..., Any] = own, **kwargs: Any) -> Any:
            splits.append(kwargs["split"])
            return _own(*args, **kwargs)

        monkeypatch.setattr(data, name, recorded)
    return splits


def entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


@pytest.mark.parametrize("kind", ["generation", "classification"])
def test_rows_are_the_same_with_and_without_the_cache(
    folder: Path, made: list[str], monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    tokenizer = chat_tokenizer()
    examples = EXAMPLES if kind == "generation" else TEXTS
    first = token_cache.tokenized(kind, examples, tokenizer, 100)
    second = token_cache.tokenized(kind, examples, tokenizer, 100, split="test")
    assert made == ["train"], "the second call reads"
    monkeypatch.setenv(token_cache.FOLDER, "")
    third = token_cache.tokenized(kind, examples, tokenizer, 100, split="test")
    assert made == ["train", "test"]
    assert first == second == third
    assert [list(row) for row in first] == [list(row) for row in second]
    assert len(entries(folder)) == 1


def other_data(_: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {"examples": [EXAMPLES[0], Example("The question", "yes")]}


def other_prompt(_: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {"examples": [EXAMPLES[0], Example("The questio", "nno")]}


def other_vocabulary(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    tokenizer.add_tokens(["Oslo"])
    return {}


def other_special_token(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    tokenizer.eos_token = "<|im_end|>"
    return {}


def other_rules(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    from tokenizers import processors

    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    return {}


def other_chat_template(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    tokenizer.chat_template = CHATML
    return {}


def other_length(_: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {"max_length": 99}


def other_turn_end(_: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {"turn_end": "<|im_end|>"}


CHANGES = [other_data, other_prompt, other_vocabulary, other_special_token, other_rules, other_chat_template]
CHANGES += [other_length, other_turn_end]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_whatever_decides_tokens_makes_an_entry_of_its_own(
    folder: Path, made: list[str], change: Any
) -> None:
    tokenizer = chat_tokenizer()
    values: dict[str, Any] = {"examples": EXAMPLES, "max_length": 100, "turn_end": None}
    token_cache.tokenized("generation", tokenizer=tokenizer, **values)
    values |= change(tokenizer)
    fresh = token_cache.tokenized("generation", tokenizer=tokenizer, **values)
    assert len(made) == len(entries(folder)) == 2
    uncached = data.tokenize_generation(
        values["examples"], tokenizer, values["max_length"], turn_end=values["turn_end"], split="train"
    )
    assert fresh == uncached


def test_other_code_makes_an_entry_of_its_own(
    folder: Path, made: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tokenizer = chat_tokenizer()
    token_cache.tokenized("generation", EXAMPLES, tokenizer, 100)
    before = token_cache.code_fingerprint()
    changed = tmp_path / "data.py"
    changed.write_text(Path(data.__file__).read_text() + "\n# changed\n")
    monkeypatch.setattr(data, "__file__", str(changed))
    token_cache.code_fingerprint.cache_clear()
    try:
        assert token_cache.code_fingerprint() != before
        token_cache.tokenized("generation", EXAMPLES, tokenizer, 100)
    finally:
        token_cache.code_fingerprint.cache_clear()
    assert len(made) == len(entries(folder)) == 2


def test_an_earlier_call_of_the_tokenizer_changes_no_key() -> None:
    tokenizer = chat_tokenizer()
    before = token_cache.tokenizer_fingerprint(tokenizer)
    tokenizer(["the answer is yes"], truncation=True, max_length=2, padding="max_length")
    assert token_cache.tokenizer_fingerprint(tokenizer) == before
    assert token_cache.tokenizer_fingerprint(chat_tokenizer()) == before


@pytest.mark.parametrize("damage", ["empty", "half", "byte", "foreign", "folder"])
def test_a_damaged_or_foreign_file_is_made_again(folder: Path, made: list[str], damage: str) -> None:
    tokenizer = chat_tokenizer()
    rows = token_cache.tokenized("generation", EXAMPLES, tokenizer, 100)
    (file,) = entries(folder)
    content = file.read_bytes()
    if damage == "foreign":
        other = token_cache.tokenized("generation", EXAMPLES[::-1], tokenizer, 100)
        assert other != rows
        (second,) = set(entries(folder)) - {file}
        second.replace(file)
    elif damage == "folder":
        file.unlink()
        file.mkdir()
    else:
        place = content.index(b"PAR1") + 60
        flipped = content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]
        file.write_bytes({"empty": b"", "half": content[: len(content) // 2], "byte": flipped}[damage])
    made.clear()
    assert token_cache.tokenized("generation", EXAMPLES, tokenizer, 100) == rows
    assert made == ["train"]
    if damage != "folder":
        assert token_cache.tokenized("generation", EXAMPLES, tokenizer, 100) == rows
        assert made == ["train"], "what was made again is read"


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(token_cache.FOLDER, str(tmp_path / "file" / "below"))
    assert len(token_cache.tokenized("generation", EXAMPLES, chat_tokenizer(), 100)) == 2
    assert "tokens cannot be cached in" in caplog.text


def _several_times(folder: str, file: str) -> None:
    os.environ[token_cache.FOLDER] = folder
    for length in range(60, 70):
        rows = token_cache.tokenized("generation", EXAMPLES, chat_tokenizer(), length)
        with Path(file).open("a") as lines:
            lines.write(json.dumps(rows) + "\n")


def test_processes_at_once_get_the_same_rows(tmp_path: Path) -> None:
    """Two processes make the same ten entries at the same time."""
    context = multiprocessing.get_context("fork")
    cache, files = str(tmp_path / "shared"), [str(tmp_path / f"{i}.jsonl") for i in range(2)]
    processes = [context.Process(target=_several_times, args=(cache, file)) for file in files]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    first, second = (Path(file).read_text() for file in files)
    assert first == second and len(first.splitlines()) == 10
    assert len(list(Path(cache).iterdir())) == 10, "nothing partial is left"


def test_what_was_not_read_for_longest_goes_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = chat_tokenizer()
    for number, length in enumerate((90, 91)):
        token_cache.tokenized("generation", EXAMPLES, tokenizer, length)
        for file in entries(folder):
            os.utime(file, (file.stat().st_atime, 1000.0 + number * (file.stat().st_mtime > 2000)))
    first = min(entries(folder), key=lambda file: file.stat().st_mtime)
    token_cache.tokenized("generation", EXAMPLES, tokenizer, 90)
    assert first.stat().st_mtime > 2000, "reading counts"
    monkeypatch.setattr(token_cache, "LIMIT", 2 * first.stat().st_size + 100)
    token_cache.tokenized("generation", EXAMPLES, tokenizer, 92)
    assert len(entries(folder)) == 2 and first in entries(folder)


def test_the_folder_is_the_users_unless_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(token_cache.FOLDER)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert token_cache.cache_folder() == tmp_path / "amplitune" / "tokens"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert token_cache.cache_folder() == tmp_path / ".cache" / "amplitune" / "tokens"
    monkeypatch.setenv(token_cache.FOLDER, "")
    assert token_cache.cache_folder() is None
