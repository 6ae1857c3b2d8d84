"""The lexicon against lists of forms written by hand, and the partitions of names."""

import random

from amplitune.zoo import words
from amplitune.zoo.names import NameSource, is_held_out


def test_irregular_and_regular_plurals() -> None:
    forms = {
        "fox": "foxes", "church": "churches", "brush": "brushes", "glass": "glasses", "library": "libraries",
        "key": "keys", "knife": "knives", "goose": "geese", "ox": "oxen", "shelf": "shelves", "fish": "fish",
        "person": "people", "pony": "ponies", "donkey": "donkeys", "inn": "inns",
    }  # fmt: skip
    assert {noun: words.plural(noun) for noun in forms} == forms


def test_lexicon_has_no_duplicates_and_consistent_verbs() -> None:
    for group, least in ((words.JOBS, 40), (words.ANIMALS, 20), (words.OBJECTS, 50), (words.HOBBIES, 20)):
        assert len(set(group)) == len(group) >= least
    assert len(words.VERBS) == 28
    for verb in words.VERBS:
        assert verb.third.endswith("s")
        assert verb.gerund.endswith("ing")
        assert len({verb.base, verb.third, verb.past, verb.gerund}) == 4
    assert not set(words.GOOD) & set(words.BAD)


def test_name_partitions_are_disjoint_and_names_do_not_repeat() -> None:
    for held_out in (False, True):
        names = NameSource(random.Random(5), held_out=held_out)
        drawn = [names.family() for _ in range(40)] + [names.town() for _ in range(40)]
        drawn += [names.first("feminine") for _ in range(10)] + [names.company() for _ in range(20)]
        drawn += [names.river() for _ in range(5)] + [names.country() for _ in range(5)]
        assert len(set(drawn)) == 120
        assert {is_held_out(name) for name in drawn} == {held_out}


def test_gender_tells_the_ending_of_an_invented_name() -> None:
    names = NameSource(random.Random(1))
    assert all(names.first("feminine")[-1] != "o" for _ in range(50))
