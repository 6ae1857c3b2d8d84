"""The bundled held-out documents: fixed, distinct, and with names that no training split has."""

import re

from amplitune.zoo import TASKS, generate
from amplitune.zoo.grammar import corpus
from amplitune.zoo.held_out import KINDS, held_out_documents


def test_they_are_fixed_and_distinct() -> None:
    documents = held_out_documents()
    assert len(set(documents)) == 54 == 6 * len(KINDS)
    assert documents == held_out_documents()


def test_no_sentence_stands_in_a_task_or_in_the_pretraining_text() -> None:
    def sentences(text: str) -> set[str]:
        return {part for part in re.split(r"(?<=[.!?])\s+", text) if len(part) > 25}

    ours = set().union(*(sentences(document) for document in held_out_documents()))
    assert len(ours) > 200
    tasks = [
        str(value)
        for task in TASKS
        for rows in generate(task).values()
        for row in rows
        for value in row.values()
    ]
    assert len(tasks) > 10_000
    texts = [*tasks, *corpus(20, 0, 2000)]
    others = set().union(*(sentences(text) for text in texts))
    shared = ours & others
    # Templates with few slots make the same sentence now and then.
    assert len(shared) < 0.05 * len(ours), sorted(shared)
