"""The generated tasks: determinism, disjoint splits, row formats, references and how far word counts get."""

import re

import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from amplitune.errors import ConfigError
from amplitune.zoo import TASKS, generate, words
from amplitune.zoo.tasks.splits import SIZES, Row

INPUTS = {
    "data-to-text": ("prompt",),
    "instructions": ("instruction", "input"),
    "sentiment": ("text",),
}
COLUMNS = {
    "data-to-text": {"prompt", "completion", "references"},
    "instructions": {"instruction", "input", "output", "references"},
    "sentiment": {"text", "label"},
}


@pytest.fixture(scope="module")
def generated() -> dict[str, dict[str, list[Row]]]:
    return {name: generate(name) for name in TASKS}


def test_there_are_three_tasks() -> None:
    assert list(TASKS) == ["data-to-text", "instructions", "sentiment"]


@pytest.mark.parametrize("task", TASKS)
def test_rows_depend_on_the_seed_alone(task: str, generated: dict[str, dict[str, list[Row]]]) -> None:
    assert generate(task, seed=0) == generated[task]
    assert generate(task, seed=1)["test"] != generated[task]["test"]


@pytest.mark.parametrize("task", TASKS)
def test_splits_have_their_sizes_columns_and_no_input_twice(
    task: str, generated: dict[str, dict[str, list[Row]]]
) -> None:
    splits = generated[task]
    assert {split: len(rows) for split, rows in splits.items()} == SIZES
    inputs = [tuple(row[column] for column in INPUTS[task]) for rows in splits.values() for row in rows]
    assert len(set(inputs)) == len(inputs) == sum(SIZES.values())
    for rows in splits.values():
        for row in rows:
            assert set(row) == COLUMNS[task]


def test_data_to_text_has_three_references_that_tell_every_slot(
    generated: dict[str, dict[str, list[Row]]],
) -> None:
    rows = [row for split in generated["data-to-text"].values() for row in split]
    for row in rows:
        assert len(set(row["references"])) == 3
        assert row["completion"] in row["references"]
        for value in re.findall(r"\[(.*?)\]", row["prompt"]):
            assert all(value in reference for reference in row["references"]), row


def test_people_of_the_test_split_occur_nowhere_in_training(
    generated: dict[str, dict[str, list[Row]]],
) -> None:
    def people(split: str) -> set[str]:
        return {re.findall(r"name\[(\w+) ", row["prompt"])[0] for row in generated["data-to-text"][split]}

    assert len(people("test")) > 100
    assert not people("train") & people("test")


def test_instructions_are_answered_rightly(generated: dict[str, dict[str, list[Row]]]) -> None:
    asked: dict[str, int] = {}
    for row in generated["instructions"]["test"]:
        instruction, text, answer = row["instruction"], row["input"], row["output"]
        asked[instruction.split()[0]] = asked.get(instruction.split()[0], 0) + 1
        assert answer == row["references"][0]
        people = re.findall(r"(\w+) (?:is|lives)", text)
        match instruction.split()[0]:
            case "List":
                assert re.findall(r"[A-Z]\w+", answer) == people
            case "Count":
                assert answer == f"{words.number_word(len(people))}.".capitalize()
            case "Who":
                assert f"{answer[:-1]} is a{'n' * (instruction[11] in 'aeiou')} {instruction[11:-1]}." in text
            case "Where":
                assert f"{instruction.split()[2]} lives {answer.replace('In', 'in')}" in text
    assert len(asked) == 5, asked
    assert min(asked.values()) > 30


def test_no_word_counts_tell_the_sentiment(generated: dict[str, dict[str, list[Row]]]) -> None:
    splits = generated["sentiment"]
    labels = [row["label"] for row in splits["test"]]
    assert set(labels) == {"negative", "positive"}
    assert 0.4 < labels.count("positive") / len(labels) < 0.6
    vectorizer = CountVectorizer()
    train = vectorizer.fit_transform([row["text"] for row in splits["train"]])
    classifier = LogisticRegression(max_iter=500).fit(train, [row["label"] for row in splits["train"]])
    accuracy = classifier.score(vectorizer.transform([row["text"] for row in splits["test"]]), labels)
    assert accuracy < 0.65


def test_unknown_task_and_seed_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"no bundled task 'sentment'\. Did you mean 'sentiment'"):
        generate("sentment")
    with pytest.raises(ConfigError, match="`seed` must be at least 0, but is -1"):
        generate("sentiment", seed=-1)
