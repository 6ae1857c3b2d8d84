"""The examples of a task: their splits, several references per prompt, seeded subsets."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from amplitune.errors import DataError
from amplitune.study.data.conversation import Message

TaskKind = Literal["generation", "classification"]

VALIDATION_SHARE = 0.1


@dataclass(frozen=True)
class Example:
    """One example of a task.

    Args:
        prompt: what the model reads, template and substitutions applied; for classification the text; empty
            for chat until `chat.render` has written it.
        completion: the answer that is trained, and scored by perplexity: the first reference; empty for
            classification.
        references: every accepted answer; empty for classification.
        label: position in `Task.labels`; None for generation.
        index: row of the source it came from, counted from 0 (of the first row, where rows were grouped).
        messages: for chat, the turns before the answer, until `chat.render` has made them the prompt.
    """

    prompt: str
    completion: str = ""
    references: tuple[str, ...] = ()
    label: int | None = None
    index: int = 0
    messages: tuple[Message, ...] = ()

    @property
    def question(self) -> tuple[Message, ...] | str:
        """What is answered: the turns before the answer, or the prompt."""
        return self.messages or self.prompt

    @property
    def opening(self) -> tuple[Message, ...] | str:
        """What all answers of a conversation share: the turns before its first answer, or the prompt."""
        roles = [message.role for message in self.messages]
        end = roles.index("assistant") if "assistant" in roles else len(roles)
        return self.messages[:end] or self.prompt


@dataclass(frozen=True)
class Task:
    """A task's examples, ready to be tokenised.

    Args:
        name: the task's name in the study.
        kind: "generation" or "classification".
        train: examples to train on.
        validation: examples that choose and stop, given or carved from `train`.
        test: held-out examples, scored once.
        labels: the classes' names in order; None for generation.
        format_note: what was recognised in the source, in words, to be shown to the user.
    """

    name: str
    kind: TaskKind
    train: list[Example] = field(repr=False)
    validation: list[Example] = field(repr=False)
    test: list[Example] = field(repr=False)
    labels: list[str] | None = None
    format_note: str = ""


def group_references(examples: Sequence[Example]) -> list[Example]:
    """Gather evaluation examples that share a prompt into one example with all their references.

    Args:
        examples: one split, in the order of its source.

    Returns:
        One example a prompt, in order of first appearance; references in order, each distinct one once.

    Example:
        >>> rows = [Example(prompt, ref, (ref,)) for prompt, ref in (("a", "x"), ("b", "y"), ("a", "z"))]
        >>> [(example.prompt, example.references) for example in group_references(rows)]
        [('a', ('x', 'z')), ('b', ('y',))]
    """
    first: dict[object, Example] = {}
    references: dict[object, dict[str, None]] = {}
    for example in examples:
        first.setdefault(example.question, example)
        references.setdefault(example.question, {}).update(dict.fromkeys(example.references))
    return [replace(example, references=tuple(references[question])) for question, example in first.items()]


def last_answers(examples: Sequence[Example]) -> list[Example]:
    """Keep the last answer of each conversation, as evaluation data does; its earlier turns are its prompt.

    Args:
        examples: training examples of chat data, one for each answer, in the order of their source.

    Returns:
        One example a row of the source.
    """
    return list({example.index: example for example in examples}.values())


def carve_validation(train: Sequence[Example], seed: int, task: str) -> tuple[list[Example], list[Example]]:
    """Split a tenth of the prompts off the training examples, by seed.

    All examples of a prompt go to one side, so that no validation prompt was trained on; so do all answers of
    a conversation, whose later prompts hold the earlier answers. The test split is never touched.

    Args:
        train: the training examples.
        seed: `data_seed` of the task.
        task: the task's name, for the message.

    Returns:
        The remaining training examples and the validation examples, both in their former order.

    Raises:
        DataError: there are fewer than two distinct prompts.
    """
    prompts = list(dict.fromkeys(example.opening for example in train))
    if len(prompts) < 2:
        raise DataError(
            f"The training data of task {task!r} must have at least 2 distinct prompts to split validation "
            f"data off, but has {len(prompts)}.\n"
            "Give more training data, or set validation_file."
        )
    count = max(1, round(VALIDATION_SHARE * len(prompts)))
    chosen = set(random.Random(f"validation-{seed}").sample(prompts, count))
    return [e for e in train if e.opening not in chosen], [e for e in train if e.opening in chosen]


def subset(examples: Sequence[Example], count: int | None, seed: int, split: str) -> list[Example]:
    """Draw at most `count` examples by seed, keeping their order.

    Args:
        examples: one split.
        count: how many to keep; None keeps all.
        seed: `data_seed` of the task.
        split: the split's name; splits are drawn independently.

    Returns:
        The chosen examples.

    Example:
        >>> rows = [Example(str(i), index=i) for i in range(100)]
        >>> chosen = [example.index for example in subset(rows, 3, 0, "train")]
        >>> len(chosen), chosen == sorted(chosen)
        (3, True)
    """
    if count is None or count >= len(examples):
        return list(examples)
    positions = random.Random(f"{split}-{seed}").sample(range(len(examples)), count)
    return [examples[position] for position in sorted(positions)]
