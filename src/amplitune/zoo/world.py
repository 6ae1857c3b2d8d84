"""Invented people with consistent facts, and the slots that sentence templates fill from them."""

import random
from dataclasses import dataclass

from amplitune.zoo import words
from amplitune.zoo.names import Gender, NameSource

PRESENT_YEAR = 2020
"""The year in which every generated paragraph is set, so that ages follow from years of birth."""

_PRONOUNS = {"feminine": ("she", "her", "her"), "masculine": ("he", "him", "his")}
_KIN = {
    ("sibling", "feminine"): "sister",
    ("sibling", "masculine"): "brother",
    ("child", "feminine"): "daughter",
    ("child", "masculine"): "son",
    ("cousin", "feminine"): "cousin",
    ("cousin", "masculine"): "cousin",
    ("neighbour", "feminine"): "neighbour",
    ("neighbour", "masculine"): "neighbour",
    ("friend", "feminine"): "friend",
    ("friend", "masculine"): "friend",
}


@dataclass(frozen=True)
class Person:
    """One invented person; `pets` and `things` are counts of one kind each."""

    first: str
    family: str
    gender: Gender
    job: str
    town: str
    company: str
    born: int
    pets: int
    animal: str
    things: int
    thing: str
    hobby: str
    trait: str
    colour: str

    @property
    def name(self) -> str:
        """Given name and family name."""
        return f"{self.first} {self.family}"

    @property
    def age(self) -> int:
        """Age in years in `PRESENT_YEAR`."""
        return PRESENT_YEAR - self.born

    def kin(self, relation: str) -> str:
        """Name this person's side of a relation: a sibling is a sister or a brother."""
        return _KIN[relation, self.gender]

    def slots(self, prefix: str = "") -> dict[str, str]:
        """Give the values that a template can name.

        Args:
            prefix: put before each name, for templates with several people.

        Returns:
            Strings by slot; slots that begin with a capital begin a sentence.
        """
        he, him, his = _PRONOUNS[self.gender]
        values = {
            "name": self.name,
            "first": self.first,
            "family": self.family,
            "he": he,
            "him": him,
            "his": his,
            "He": he.capitalize(),
            "His": his.capitalize(),
            "job": self.job,
            "jobs": words.plural(self.job),
            "a_job": words.indefinite(self.job),
            "town": self.town,
            "company": self.company,
            "born": str(self.born),
            "age": str(self.age),
            "next_age": str(self.age + 1),
            "animal": self.animal,
            "animals": words.plural(self.animal),
            "pets": words.counted(self.pets, self.animal),
            "pet_count": words.number_word(self.pets),
            "pet_digits": str(self.pets),
            "things": words.counted(self.things, self.thing),
            "thing": self.thing,
            "things_only": words.plural(self.thing),
            "a_thing": words.indefinite(self.thing),
            "thing_count": words.number_word(self.things),
            "hobby": self.hobby,
            "trait": self.trait,
            "a_trait": words.indefinite(self.trait),
            "colour": self.colour,
            "a_colour_thing": words.indefinite(f"{self.colour} {self.thing}"),
        }
        return {prefix + slot: value for slot, value in values.items()} if prefix else values


def person(
    rng: random.Random, names: NameSource, *, family: str | None = None, town: str | None = None
) -> Person:
    """Draw a person.

    Args:
        rng: the stream of random numbers.
        names: where proper names come from.
        family: a family name to share.
        town: a home town to share.

    Returns:
        A person whose facts are consistent with one another.
    """
    gender: Gender = "feminine" if rng.random() < 0.5 else "masculine"
    return Person(
        first=names.first(gender),
        family=family or names.family(),
        gender=gender,
        job=rng.choice(words.JOBS),
        town=town or names.town(),
        company=names.company(),
        born=rng.randint(1930, 2001),
        pets=rng.randint(1, 9),
        animal=rng.choice(words.ANIMALS),
        things=rng.randint(2, 12),
        thing=rng.choice(words.OBJECTS),
        hobby=rng.choice(words.HOBBIES),
        trait=rng.choice(words.TRAITS),
        colour=rng.choice(words.COLOURS),
    )


def people(rng: random.Random, names: NameSource, count: int) -> list[Person]:
    """Draw several people who share neither names nor jobs nor towns nor years of birth."""
    drawn: list[Person] = []
    while len(drawn) < count:
        candidate = person(rng, names)
        if all(
            candidate.job != other.job
            and candidate.born != other.born
            and candidate.hobby != other.hobby
            and candidate.trait != other.trait
            for other in drawn
        ):
            drawn.append(candidate)
    return drawn
