"""Chat examples written as text by the chat template of a model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from amplitune.errors import ConfigError, DataError
from amplitune.study.data.conversation import Message
from amplitune.study.data.examples import Example
from amplitune.study.data.task_config import TaskConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TODAY = date(2024, 7, 26)
"""What a template that writes the day's date writes here: prompts must not depend on the day of a run."""

PROBE = "AnswerAnswer0123456789"
"""An answer that no template changes; what stands around it belongs to the template."""

_DATE = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")


def is_jinja(template: str) -> bool:
    """Whether `chat_template` is the template itself; otherwise it is a file of it.

    Example:
        >>> is_jinja("{{ messages }}"), is_jinja("templates/chat.jinja")
        (True, False)
    """
    return "{{" in template or "{%" in template


def check_chat_settings(task: TaskConfig, form: str) -> None:
    """Refuse settings that the task's format would ignore, and a chat template that is not there.

    Args:
        task: the task.
        form: the format of its data.

    Raises:
        ConfigError: chat data with a prompt template or separator, other data with a chat template.
    """
    if form != "chat" and task.chat_template is not None:
        raise ConfigError(
            f"`chat_template` of task {task.name!r} must be unset for data of format {form!r}, which has no "
            "messages.\nRemove it; prompt_template says how a row becomes a prompt."
        )
    if form == "chat":
        for key in ("prompt_template", "separator"):
            if getattr(task, key) != TaskConfig.model_fields[key].default:
                raise ConfigError(
                    f"`{key}` of task {task.name!r} must be unset for chat messages, which the model's chat "
                    "template writes.\nRemove it, or set chat_template."
                )
        _own_template(task)


def render(
    examples: Sequence[Example],
    task: TaskConfig,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    split: str = "test",
) -> tuple[list[Example], str | None]:
    """Write chat examples as prompts and answers; others are returned as they are.

    The prompt is what the template writes for the turns before the answer, up to where the answer begins; the
    answer is what it writes from there on, without the end of the turn.

    Args:
        examples: one split of a task.
        task: the task, which may name a template.
        tokenizer: the model's, with its own template.
        split: the split's name, for messages.

    Returns:
        The examples, and the text that ends each answer: up to the special token by which the template ends
        a turn (`<|im_end|>`, `<|eot_id|>`, `</s>`), with EOS added where it writes none. None where the
        examples are not chat, whose prompts are tokenised otherwise.

    Raises:
        ConfigError: there is no template, or it is none.
        DataError: the template refuses a conversation.
    """
    if not any(example.messages for example in examples):
        return list(examples), None
    template = _Template(tokenizer, _find_template(task, tokenizer), task.name)
    frame = template.frame(examples[0], split)
    return [template.write(example, frame, split) for example in examples], template.turn_end(frame)


@dataclass(frozen=True)
class _Frame:
    """What a template writes around each answer, beyond the prompt that it writes itself."""

    before: str
    after: str


@dataclass(frozen=True)
class _Template:
    tokenizer: "PreTrainedTokenizerBase"
    text: str
    task: str

    def frame(self, example: Example, split: str) -> _Frame:
        prompt = self._apply(example, (), split)
        start, found, after = self._apply(example, (Message("assistant", PROBE),), split).rpartition(PROBE)
        if not found or not start.startswith(prompt):
            raise self._not_a_beginning(example, split)
        # Such as an empty block of thoughts: the answer begins behind it. A space belongs to its first word.
        before = start[len(prompt) :].rstrip(" ")
        return _Frame(before if before.strip() else "", after)

    def write(self, example: Example, frame: _Frame, split: str) -> Example:
        prompt = self._apply(example, (), split) + frame.before
        whole = self._apply(example, (Message("assistant", example.completion),), split)
        if not whole.startswith(prompt) or not whole.endswith(frame.after):
            raise self._not_a_beginning(example, split)
        answer = whole[len(prompt) : len(whole) - len(frame.after)]
        return replace(example, prompt=prompt, completion=answer, messages=())

    def turn_end(self, frame: _Frame) -> str:
        marks = {*self.tokenizer.get_added_vocab(), *self.tokenizer.all_special_tokens}
        places = [(frame.after.index(mark), -len(mark), mark) for mark in marks if mark in frame.after]
        if places:
            place, _, mark = min(places)
            return frame.after[: place + len(mark)]
        if self.tokenizer.eos_token is None:
            raise ConfigError(
                f"The chat template of task {self.task!r} must end an answer with a special token, so that a "
                "model can learn to stop, or the tokenizer must have an EOS token, but neither is so.\n"
                "Set eos_token in its tokenizer_config.json, or take another model."
            )
        return frame.after.rstrip() + str(self.tokenizer.eos_token)

    def _apply(self, example: Example, answer: tuple[Message, ...], split: str) -> str:
        import jinja2

        turns = [{"role": m.role, "content": m.content} for m in (*example.messages, *answer)]
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    turns, chat_template=self.text, tokenize=False, add_generation_prompt=not answer
                )
            )
        except jinja2.TemplateSyntaxError as error:
            raise ConfigError(
                f"`chat_template` of task {self.task!r} must be a Jinja template, but is none: {error} (line "
                f"{error.lineno}).\nCorrect it."
            ) from error
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, IndexError) as error:
            raise DataError(
                f"The chat template of task {self.task!r} must accept each conversation, but refuses row "
                f"{example.index} (counted from 0) of the {split} split: {error}\n"
                "Correct that row, take it out, or set another chat_template."
            ) from error

    def _not_a_beginning(self, example: Example, split: str) -> ConfigError:
        return ConfigError(
            f"The chat template of task {self.task!r} must write the prompt of an answer as the beginning of "
            f"the conversation with it, but does not for row {example.index} (counted from 0) of the {split} "
            "split: what the model would be asked is not what it would be trained on.\n"
            "Set a chat_template that does."
        )


def _find_template(task: TaskConfig, tokenizer: "PreTrainedTokenizerBase") -> str:
    text = _own_template(task)
    if text is None:
        if not tokenizer.chat_template:
            raise ConfigError(
                f"`chat_template` of task {task.name!r} must be set where the model has none of its own, but "
                f"is unset, and {tokenizer.name_or_path!r} has none.\n"
                "Give Jinja text or a file of it, or use an instruction-tuned model."
            )
        text = str(tokenizer.get_chat_template())
    return _DATE.sub(lambda found: repr(TODAY.strftime(found[2])), text)


def _own_template(task: TaskConfig) -> str | None:
    given = task.chat_template
    if given is None or is_jinja(given):
        return given
    file = Path(given).expanduser()
    if not file.is_file():
        raise ConfigError(
            f"`chat_template` of task {task.name!r} must be Jinja text (with {{{{ or {{%) or an existing "
            f"file of it, but {given!r} is neither.\nCorrect the path, or write the template there."
        )
    return file.read_text(encoding="utf-8")
