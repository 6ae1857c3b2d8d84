"""Tokenised splits kept on disk, keyed by data, tokenizer, settings and code."""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amplitune.study.atomic import replacing
from amplitune.study.data import tokens as data
from amplitune.study.data.examples import Example, TaskKind

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FOLDER = "AMPLITUNE_CACHE"
"""Environment variable: the folder of the cache; empty, no cache is kept."""

LIMIT = 2 * 2**30
"""Bytes that the cache holds; beyond, what was not read for longest goes."""

LAYOUT = 1
"""Raised when a file of the cache is written in another way."""

_log = logging.getLogger(__name__)

Rows = list[dict[str, Any]]


def cache_folder() -> Path | None:
    """Where tokens are kept: $AMPLITUNE_CACHE or ~/.cache/amplitune/tokens; None where that is set empty."""
    named = os.environ.get(FOLDER)
    if named is not None:
        return Path(named).expanduser() if named.strip() else None
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "amplitune" / "tokens"


def tokenized(
    kind: TaskKind,
    examples: Sequence[Example],
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    *,
    task: str = "",
    split: str = "train",
    turn_end: str | None = None,
) -> Rows:
    """Tokenise one split, or read what an earlier call with the same input wrote.

    A file that is damaged or that something else wrote is made again. A cache that cannot be read or written
    costs time, never the run.

    Args:
        kind: the task's kind.
        examples: the split, chat rendered.
        tokenizer: the model's.
        max_length: most tokens of a row.
        task: the task's name, for messages.
        split: the split's name, for messages.
        turn_end: what ends each answer of chat, from `chat.render`.

    Returns:
        What `data.tokenize_generation` or `data.tokenize_classification` returns.

    Raises:
        DataError: an example does not fit into `max_length`, or has no token.
    """

    def make() -> Rows:
        rows: Any
        if kind == "generation":
            rows = data.tokenize_generation(
                examples, tokenizer, max_length, task=task, split=split, turn_end=turn_end
            )
        else:
            rows = data.tokenize_classification(examples, tokenizer, max_length, task=task, split=split)
        return list(rows)

    folder = cache_folder()
    if folder is None or not examples:
        return make()
    settings = {"kind": kind, "max_length": max_length, "turn_end": turn_end}
    key = _digest(
        json.dumps([LAYOUT, settings, code_fingerprint(), tokenizer_fingerprint(tokenizer)]),
        *(json.dumps([e.prompt, e.completion, e.label]) for e in examples),
    )
    file = folder / f"{key}.parquet"
    rows = _read(file, key, len(examples))
    if rows is None:
        rows = make()
        _write(file, key, rows)
    return rows


@cache
def code_fingerprint() -> str:
    """Digest of the code that makes tokens: modules of this package, versions of the libraries below them."""
    sources = (Path(data.__file__), Path(__file__))
    return _digest(
        *(file.read_text(encoding="utf-8") for file in sources),
        version("transformers"),
        version("tokenizers"),
    )


def tokenizer_fingerprint(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Digest of all that decides a tokenizer's ids: its rules, special tokens, settings and chat template.

    Args:
        tokenizer: any; its name and place do not count.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and hasattr(backend, "to_str"):
        rules = json.loads(backend.to_str())
        # Left behind by the last call.
        rules.pop("truncation", None)
        rules.pop("padding", None)
    else:
        rules = tokenizer.get_vocab()
    settings = {k: v for k, v in tokenizer.init_kwargs.items() if k not in ("name_or_path", "chat_template")}
    parts = (rules, settings, tokenizer.special_tokens_map, tokenizer.chat_template, type(tokenizer).__name__)
    return _digest(*(json.dumps(part, sort_keys=True, default=str) for part in parts))


def _digest(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()


def _read(file: Path, key: str, count: int) -> Rows | None:
    """The rows of a file; None where it is absent or not what this module writes under that key."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file, page_checksum_verification=True, partitioning=None)
        if (table.schema.metadata or {}).get(b"amplitune") != key.encode() or len(table) != count:
            return None
        os.utime(file)
    except FileNotFoundError:
        return None
    except (OSError, pa.ArrowException) as error:
        _log.warning("tokens cached in %s cannot be read and are made again: %s", file, error)
        return None
    return list(table.to_pylist())


def _write(file: Path, key: str, rows: Rows) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    integers = pa.list_(pa.int32())
    fields = [
        pa.field(name, integers if isinstance(value, list) else pa.int64()) for name, value in rows[0].items()
    ]
    try:
        table = pa.Table.from_pylist(rows, pa.schema(fields, metadata={"amplitune": key}))
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as partial:
            pq.write_table(table, partial, compression="zstd", write_page_checksum=True)
        _forget(file.parent.glob("*.parquet"), LIMIT)
    except (OSError, pa.ArrowException) as error:
        _log.warning("tokens cannot be cached in %s: %s", file.parent, error)


def _forget(files: Iterable[Path], limit: int) -> None:
    """Delete what was read longest ago until the rest fits; another process may do the same at once."""
    known = []
    for file in files:
        try:
            status = file.stat()
        except FileNotFoundError:
            continue
        known.append((status.st_mtime, status.st_size, file))
    total = sum(size for _, size, _ in known)
    for _, size, file in sorted(known):
        if total <= limit:
            return
        file.unlink(missing_ok=True)
        total -= size
