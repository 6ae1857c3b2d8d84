"""Instruction following in the alpaca form: rewriting clauses and reading short paragraphs."""

import random
from collections.abc import Callable

from amplitune.zoo import words
from amplitune.zoo.names import NameSource
from amplitune.zoo.tasks.splits import Row, write_splits
from amplitune.zoo.words import indefinite, listed, number_word, plural, sentence_case
from amplitune.zoo.world import Person, people

_Answer = tuple[str, str, list[str]]


def _plural(rng: random.Random, names: NameSource) -> _Answer:
    job, verb, thing = rng.choice(words.JOBS), rng.choice(words.VERBS), rng.choice(words.OBJECTS)
    return (
        "Rewrite in the plural.",
        f"The {job} {verb.third} the {thing}.",
        [f"The {plural(job)} {verb.base} the {plural(thing)}."],
    )


def _past(rng: random.Random, names: NameSource) -> _Answer:
    who = rng.choice((f"The {rng.choice(words.JOBS)}", names.first("feminine"), names.first("masculine")))
    verb, thing = rng.choice(words.VERBS), indefinite(rng.choice(words.OBJECTS))
    return ("Rewrite in the past tense.", f"{who} {verb.third} {thing}.", [f"{who} {verb.past} {thing}."])


def _paragraph(group: list[Person], fact: str) -> str:
    return " ".join(f"{member.first} {fact.format(**member.slots())}." for member in group)


def _list_names(rng: random.Random, names: NameSource) -> _Answer:
    group = people(rng, names, rng.randint(2, 3))
    firsts = [member.first for member in group]
    text = _paragraph(group, rng.choice(("lives in {town}", "is {a_job}")))
    return ("List the names.", text, [f"{listed(firsts)}.", f"Their names are {listed(firsts)}."])


def _count(rng: random.Random, names: NameSource) -> _Answer:
    group = people(rng, names, rng.randint(1, 4))
    number = number_word(len(group))
    sentence = "There is one person." if len(group) == 1 else f"There are {number} people."
    return ("Count the people.", _paragraph(group, "is {a_job}"), [f"{sentence_case(number)}.", sentence])


def _who(rng: random.Random, names: NameSource) -> _Answer:
    group = people(rng, names, 2)
    someone = rng.choice(group)
    return (
        f"Who is the {someone.job}?",
        _paragraph(group, "is {a_job}"),
        [
            f"{someone.first}.",
            f"{someone.first} is the {someone.job}.",
            f"The {someone.job} is {someone.first}.",
        ],
    )


def _where(rng: random.Random, names: NameSource) -> _Answer:
    group = people(rng, names, 2)
    someone = rng.choice(group)
    he = someone.slots()["He"]
    return (
        f"Where does {someone.first} live?",
        _paragraph(group, "lives in {town}"),
        [
            f"In {someone.town}.",
            f"{someone.first} lives in {someone.town}.",
            f"{he} lives in {someone.town}.",
        ],
    )


KINDS: tuple[Callable[[random.Random, NameSource], _Answer], ...] = (
    _plural,
    _past,
    _list_names,
    _count,
    _who,
    _where,
)


def _row(rng: random.Random, names: NameSource) -> Row:
    instruction, text, answers = rng.choice(KINDS)(rng, names)
    return {"instruction": instruction, "input": text, "output": answers[0], "references": answers}


def instruction_splits(seed: int = 0) -> dict[str, list[Row]]:
    """Generate the task.

    Args:
        seed: the seed of the data.

    Returns:
        By split, rows with `instruction`, `input`, `output` and `references` (every right answer, `output`
        first).

    Example:
        >>> row = instruction_splits()["train"][0]
        >>> row["output"] == row["references"][0]
        True
    """
    return write_splits(_row, "instructions", seed, ("instruction", "input"))
