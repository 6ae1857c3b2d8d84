"""Conversations: spellings of messages, parts of text, and rows that are refused with their reason."""

import json
from typing import Any

import pytest

from amplitune.errors import DataError
from amplitune.study.data.conversation import Message, is_conversation, read_conversation

READ = (Message("system", "Be kind."), Message("user", "Hi"), Message("assistant", "Hello."))
OPENAI = [{"role": m.role, "content": m.content} for m in READ]
SHAREGPT = [
    {"from": name, "value": m.content} for name, m in zip(("system", "human", "gpt"), READ, strict=True)
]
PARTS = [
    {"role": "system", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "kind."}]},
    {"role": "user", "content": [{"type": "text", "text": "Hi", "image": None}]},
    {"role": "assistant", "content": "Hello.", "tool_calls": None, "name": "bot"},
]


@pytest.mark.parametrize("value", [OPENAI, SHAREGPT, PARTS, json.dumps(OPENAI), tuple(OPENAI)])
def test_each_spelling_reads_the_same(value: Any) -> None:
    assert is_conversation(value)
    assert read_conversation(value, "row 0") == READ


USER, ANSWER = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}
REFUSED: dict[str, tuple[Any, str]] = {
    "nothing": ([], "is an empty list"),
    "missing": (None, "is None"),
    "text": ("Hi", "is 'Hi'"),
    "broken json": ('[{"role": ', "is text that is not readable as JSON"),
    "unanswered": ([USER, ANSWER, USER], "ends with a message of the user"),
    "unasked": ([ANSWER], "begins with the assistant"),
    "unasked but for the system": ([OPENAI[0], ANSWER, USER, ANSWER], "begins with the assistant"),
    "tool": ([USER, {"role": "tool", "content": "4"}, ANSWER], "has the role 'tool' in message 1"),
    "tool calls": (
        [USER, {**ANSWER, "tool_calls": [{"id": 1}]}],
        "has `tool_calls` in message 1, which is not read",
    ),
    "weight": ([USER, {**ANSWER, "weight": 0}], "has `weight` in message 1"),
    "image": (
        [{"role": "user", "content": [{"type": "image", "url": "x"}]}, ANSWER],
        "has a part of type 'image' in message 0, where only text is read",
    ),
    "no role": ([{"content": "Hi"}, ANSWER], "has no role in message 0"),
    "no text": ([USER, {"role": "assistant", "content": " "}], "has no text in message 1"),
    "not a mapping": (["Hi", ANSWER], "has 'Hi' as message 0"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_a_row_that_is_no_conversation_is_named_with_its_reason(case: str) -> None:
    value, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        read_conversation(value, "row 7 (counted from 0) of chat.jsonl")
    assert f"row 7 (counted from 0) of chat.jsonl {message}" in str(caught.value)
    assert len(REFUSED) == 14
