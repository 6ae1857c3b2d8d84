"""The messages of a conversation, read from a row of chat data."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from amplitune.errors import DataError

ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}
"""How data calls who speaks, and how chat templates call it."""

NOT_READ = ("tool_calls", "function_call", "tool_call_id", "weight")
"""Keys of a message that change what is said or trained; without them it would not be the same data."""


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.

    Args:
        role: "system", "user" or "assistant".
        content: what is said.
    """

    role: str
    content: str


def is_conversation(value: object) -> bool:
    """Whether a column's value is a list of messages, as data or as JSON text.

    Example:
        >>> is_conversation([{"role": "user", "content": "Hi"}]), is_conversation("Hi")
        (True, False)
    """
    return isinstance(value, list | tuple) or (isinstance(value, str) and value.lstrip().startswith("[{"))


def read_conversation(value: object, where: str) -> tuple[Message, ...]:
    """Read a row's messages, whose last is the assistant's.

    Args:
        value: a list of messages with `role` and `content`, or with `from` and `value` (ShareGPT), or that
            list as JSON text. A content of several text parts is joined.
        where: the row, for the message.

    Returns:
        The messages.

    Raises:
        DataError: the row is no conversation of text between a user and an assistant that ends with an
            answer.

    Example:
        >>> rows = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]
        >>> [message.role for message in read_conversation(rows, "row 0")]
        ['user', 'assistant']
    """
    if isinstance(value, str) and is_conversation(value):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise _refused(where, f"is text that is not readable as JSON: {error.msg}") from error
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise _refused(where, f"is {'an empty list' if value == [] else repr(value)[:60]}")
    messages = tuple(_message(entry, f"message {number}", where) for number, entry in enumerate(value))
    roles = [message.role for message in messages]
    if roles[-1] != "assistant":
        raise _refused(where, f"ends with a message of the {roles[-1]}, so that its answer is missing")
    if "user" not in roles[: roles.index("assistant")]:
        raise _refused(where, "begins with the assistant, so that the first answer has no question")
    return messages


def _message(entry: object, which: str, where: str) -> Message:
    if not isinstance(entry, Mapping):
        raise _refused(where, f"has {entry!r:.60} as {which}, which is no mapping with role and content")
    present = {key: value for key, value in entry.items() if value is not None}
    for key in NOT_READ:
        if present.get(key) not in (None, [], {}, ""):
            raise _refused(where, f"has `{key}` in {which}, which is not read")
    role = present.get("role", present.get("from"))
    if role not in ROLES:
        what = "has no role" if role is None else f"has the role {role!r}"
        raise _refused(where, f"{what} in {which}, where {', '.join(map(repr, ROLES))} are known")
    content = _text(present.get("content", present.get("value")), which, where)
    if not content.strip():
        raise _refused(where, f"has no text in {which}")
    return Message(ROLES[role], content)


def _text(content: Any, which: str, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, list | tuple) else [content]
    texts = []
    for part in parts:
        kind = part.get("type", "text") if isinstance(part, Mapping) else type(part).__name__
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, Mapping) and kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        else:
            raise _refused(where, f"has a part of type {kind!r} in {which}, where only text is read")
    return "".join(texts)


def _refused(where: str, what: str) -> DataError:
    return DataError(
        "A conversation must be a list of messages, text between a user and an assistant that ends with an "
        f"answer, but {where} {what}.\n"
        "Correct that row, or take it out."
    )
