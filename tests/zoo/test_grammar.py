"""Invariants of the generated paragraphs: determinism, agreement, true statements, held-out names."""

import hashlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amplitune.errors import ConfigError
from amplitune.zoo import words
from amplitune.zoo.grammar import KINDS, corpus, paragraph

SEEDS = st.integers(0, 10**6)
NOUNS = (*words.JOBS, *words.ANIMALS, *words.OBJECTS, *words.BUILDINGS)
PLURALS = {words.plural(noun) for noun in NOUNS} | {"people", "animals", "workers", "coins", "kinds"}
INVARIANT = {"fish", "sheep"}
NUMBER = "|".join(words.NUMBER_WORDS[2:])

# The text that the bundled model was trained on: whoever changes the grammar has to train the model again.
TRAINING_TEXT = "9b689e63a3c40534e3fefa5e4200c0c1913da39f47df37682408e7bda9124a20"


def test_the_training_text_is_the_one_of_the_bundled_model() -> None:
    text = "\n\n".join(corpus(20, 0, 2000))
    assert hashlib.sha256(text.encode()).hexdigest() == TRAINING_TEXT


def test_corpus_is_a_function_of_seed_and_index() -> None:
    whole = list(corpus(3, 0, 20))
    assert list(corpus(3, 12, 20)) == whole[12:]
    assert whole != list(corpus(4, 0, 20))
    assert len(set(whole)) == 20


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_writes_well_formed_text(kind: str) -> None:
    for seed in range(60):
        text = paragraph(seed, kind=kind)
        assert text == text.strip()
        assert "  " not in text
        assert ".." not in text
        assert not re.search(r"[{}]|\bNone\b|\\", text)
        assert text.count('"') % 2 == 0
        assert text[0].isupper() or not text[0].isalpha()
        assert text[-1] in '."' or text[-1].isalnum()
        assert len(text) < 700


def test_every_kind_is_drawn() -> None:
    assert len(KINDS) == 14
    with pytest.raises(ConfigError, match="`kind` must be one of biography"):
        paragraph(0, kind="novel")


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_nouns_agree_with_their_numbers(seed: int) -> None:
    text = paragraph(seed)
    for number, noun in re.findall(rf"\b({NUMBER}|[2-9]|[1-9]\d+) ([a-z]+)\b", text, re.IGNORECASE):
        if noun in NOUNS and noun not in INVARIANT:
            assert noun in PLURALS, f"{number} {noun}: {text}"
    for noun in re.findall(r"\b[Oo]ne ([a-z]+)\b", text):
        assert noun not in PLURALS - INVARIANT, text


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_verbs_agree_with_their_subjects(seed: int) -> None:
    text = paragraph(seed)
    assert not re.search(rf"[Tt]here (is|was) ({NUMBER}) ", text), text
    assert not re.search(r"[Tt]here (are|were) one ", text), text
    assert not re.search(r"\b([Ss]he|[Hh]e|[Ii]t) (have|are|were|live|like|work)\b", text), text
    assert not re.search(r"\b(I|[Tt]hey) (has|is|was|lives|likes|works)\b", text), text
    for noun, verb in re.findall(r"\bThe ([a-z]+) ([a-z]+) the\b", text):
        forms = {form for entry in words.VERBS for form in (entry.base, entry.third)}
        if verb in forms and noun not in INVARIANT:
            assert verb in {(e.base if noun in PLURALS else e.third) for e in words.VERBS}, text


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_articles_agree_with_the_next_sound(seed: int) -> None:
    for article, word in re.findall(r"\b([Aa]n?) ([a-z]+)", paragraph(seed)):
        vowel = word[0] in "aeiou" or word == "honest"
        assert (article.lower() == "an") == vowel, f"{article} {word}"


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_a_biography_keeps_one_gender(seed: int) -> None:
    text = paragraph(seed, kind="biography")
    assert not (re.search(r"\b[Ss]he\b", text) and re.search(r"\b([Hh]e|[Hh]is|him)\b", text)), text


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_comparisons_are_true(seed: int) -> None:
    text = paragraph(seed, kind="comparison")
    values = {
        first: int(value)
        for first, value in re.findall(
            r"(\w+)(?: \w+)? (?:is|weighs|has|ran) (\d+) (?:cm|kg|coins|km|years)", text
        )
    }
    assert len(values) >= 2, text
    upward = "taller|heavier|richer|faster|older"
    relations = re.findall(rf"(\w+) is ({upward}|smaller|lighter|poorer|slower|younger) than (\w+)\.", text)
    assert len(relations) == 1, text
    one, relation, two = relations[0]
    assert (values[one] > values[two]) == (relation in upward.split("|")), text


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_transactions_add_up(seed: int) -> None:
    text = paragraph(seed, kind="transaction")
    number = "|".join(words.NUMBER_WORDS[1:])
    mentioned = [words.NUMBER_WORDS.index(word) for word in re.findall(rf"\b({number})\b", text)]
    before, given_away, left, received = mentioned[:4]
    assert before - given_away == left, text
    assert received == given_away, text


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_ages_follow_from_years_of_birth(seed: int) -> None:
    for born, age in re.findall(
        r"born in (\d+), so s?he is (\d+) years old", paragraph(seed, kind="two people")
    ):
        assert int(born) + int(age) == 2020


def test_held_out_paragraphs_share_no_name_with_training_text() -> None:
    def names(texts: list[str]) -> set[str]:
        # A capital after a lower-case word is never the beginning of a sentence.
        found = {name for text in texts for name in re.findall(r"(?<=[a-z] )[A-Z][a-z]+", text)}
        return found - set(words.WEEKDAYS) - set(words.MONTHS) - {"Sundays", "I"}

    trained = names(list(corpus(20, 0, 2000)))
    held_out = names(list(corpus(21, 0, 300, held_out=True)))
    assert len(trained) > 1000
    assert len(held_out) > 200
    assert not trained & held_out
