"""The wordings of facts about invented people: openings, single facts, recalls and contrasts."""

import random

from amplitune.zoo.world import Person

OPENINGS = (
    "{name} is {a_job} from {town}.",
    "{name} is {a_job} who lives in {town}.",
    "{name} lives in {town} and works as {a_job}.",
    "{name}, {a_job} from {town}, is {age} years old.",
    "{name} was born in {town} in {born}.",
    "{name} is {a_trait} {job}.",
    "In {town} lives {a_job} called {name}.",
)

# Each fact has several wordings; {S} is "He" or "She" or the given name.
FACTS: dict[str, tuple[str, ...]] = {
    "job": ("{S} is {a_job}.", "{S} works as {a_job}.", "{S} has been {a_job} for many years."),
    "town": ("{S} lives in {town}.", "{His} home is in {town}.", "{S} has a small house in {town}."),
    "company": (
        "{S} works for {company}.",
        "{S} is employed by {company}.",
        "{S} started {company}, a small company.",
    ),
    "born": ("{S} was born in {born}.", "{S} was born in {born}, so {he} is {age} years old."),
    "age": ("{S} is {age} years old.", "{S} is {age}.", "At the age of {age}, {he} is still working."),
    "pets": ("{S} has {pets}.", "{S} owns {pets}.", "{S} keeps {pets} at home.", "At home {he} has {pets}."),
    "hobby": (
        "{S} likes {hobby}.",
        "{S} loves {hobby}.",
        "{His} hobby is {hobby}.",
        "On Sundays {he} enjoys {hobby}.",
    ),
    "things": ("{S} owns {things}.", "{S} has {things}.", "{S} bought {things} last year."),
    "trait": ("{S} is {trait}.", "{S} is very {trait}.", "{His} friends say that {he} is {trait}."),
    "colour": (
        "{His} house is {colour}.",
        "{His} favourite colour is {colour}.",
        "{S} has {a_colour_thing}.",
    ),
}

# Sentences that name the person again, each with the facts that must have been told before it.
RECALLS: tuple[tuple[str, frozenset[str]], ...] = (
    ("People in {town} know {first} well.", frozenset({"town"})),
    ("Everybody in {town} knows {name}.", frozenset({"town"})),
    ("{first} likes {town} and does not want to leave {town}.", frozenset({"town"})),
    ("{His} friends call {him} {first}.", frozenset()),
    ("{first} and the {pets} live in {town}.", frozenset({"pets", "town"})),
    ("The {jobs} of {town} are proud of {first}.", frozenset({"job", "town"})),
    ("{company} is happy with {first}, and {first} is happy with {company}.", frozenset({"company"})),
    ("In {born}, when {first} was born, {town} was a smaller place.", frozenset({"born", "town"})),
    ("{first} says that {hobby} is good for {jobs}.", frozenset({"hobby", "job"})),
    ("{first} {family} is not the only {job} in {town}.", frozenset({"job", "town"})),
    ("The {family} family is well known in {town}.", frozenset({"town"})),
    ("Not every {job} has {pets}, but {first} has.", frozenset({"job", "pets"})),
    ("{name} will be {next_age} next year.", frozenset({"age"})),
    ("The {things_only} of {first} are {colour}.", frozenset({"things", "colour"})),
    ("{name} was the name that {first} got in {born}.", frozenset({"born"})),
)


# Sentences that set two people apart by one fact, by fact.
CONTRASTS = {
    "town": (
        "{a_first}, not {b_first}, lives in {a_town}.",
        "{a_first} lives in {a_town} but {b_first} lives in {b_town}.",
    ),
    "job": ("The {a_job} is {a_first}.", "{b_first} is not {a_a_job}, but {a_first} is."),
    "born": (
        "It is {a_first} who was born in {a_born}.",
        "In {a_born} {a_first} was born, and in {b_born} {b_first}.",
    ),
    "pets": (
        "{a_first} is good to {a_animals}.",
        "The number of {a_animals} that {a_first} has is {a_pet_digits}.",
    ),
    "hobby": ("{a_first} enjoys {a_hobby}, and {b_first} enjoys {b_hobby}.",),
    "company": ("{a_company} pays {a_first}, and {b_company} pays {b_first}.",),
    "trait": ("{a_first} is the {a_trait} one, and {b_first} is the {b_trait} one.",),
}


def told(person_: Person, fact: str, subject: str, rng: random.Random) -> str:
    """Write one fact about a person in one of its wordings.

    Args:
        person_: whose fact it is.
        fact: a key of `FACTS`.
        subject: the subject, a pronoun or a name; a name restricts the wordings to those that use it.
        rng: the stream of random numbers.

    Returns:
        A sentence.
    """
    slots = person_.slots()
    wordings = FACTS[fact]
    if subject != slots["He"]:
        wordings = tuple(wording for wording in wordings if "{S}" in wording)
    return rng.choice(wordings).format(S=subject, **slots)
