"""Paragraphs that compare quantities written in digits and say where things are."""

import random

from amplitune.zoo import words
from amplitune.zoo.names import NameSource
from amplitune.zoo.words import counted, indefinite, listed, plural, sentence_case
from amplitune.zoo.world import people

# quantity, wording of one value, "more" adjective, "less" adjective, superlative, range
_QUANTITIES = (
    ("{first} is {value} cm tall.", "taller", "smaller", "tallest", (150, 199)),
    ("{first} weighs {value} kg.", "heavier", "lighter", "heaviest", (45, 120)),
    ("{first} has {value} coins.", "richer", "poorer", "richest", (10, 990)),
    ("{first} ran {value} km.", "faster", "slower", "fastest", (3, 60)),
    ("{first} is {value} years old.", "older", "younger", "oldest", (18, 95)),
)


def comparison(rng: random.Random, names: NameSource) -> str:
    """Two or three people with one quantity each, and which is the greater."""
    wording, more, less, most, (low, high) = rng.choice(_QUANTITIES)
    group = people(rng, names, rng.randint(2, 3))
    values = rng.sample(range(low, high), len(group))
    ranked = [member for _, member in sorted(zip(values, group, strict=True), key=lambda pair: -pair[0])]
    sentences = [
        wording.format(first=member.name if rng.random() < 0.4 else member.first, value=value)
        for value, member in zip(values, group, strict=True)
    ]
    first, second = ranked[0], ranked[1]
    sentences.append(
        rng.choice(
            (f"{first.first} is {more} than {second.first}.", f"{second.first} is {less} than {first.first}.")
        )
    )
    if len(group) == 3:
        sentences.append(f"The {most} of the three is {first.first}.")
    if rng.random() < 0.5:
        value = values[group.index(first)]
        sentences.append(f"{value} is more than {values[group.index(second)]}.")
    return " ".join(sentences)


def inventory(rng: random.Random, names: NameSource) -> str:
    """Things and their places in one building, then asked for or summed up again."""
    owner, visitor = people(rng, names, 2)
    building = rng.choice(words.BUILDINGS)
    things = rng.sample(words.OBJECTS, rng.randint(2, 4))
    places = rng.sample(
        ("on the table", "under the bed", "on the shelf", "behind the door", "in the box", "near the window"),
        len(things),
    )
    counts = [rng.randint(1, 9) for _ in things]
    colours = [rng.choice(words.COLOURS) for _ in things]
    sentences = [
        rng.choice(
            (
                f"{owner.name} has {indefinite(building)} in {owner.town}.",
                f"The {building} in {owner.town} belongs to {owner.name}.",
                f"{owner.first} works in the {building} of {owner.town}.",
            )
        )
    ]
    for thing, place, count, colour in zip(things, places, counts, colours, strict=True):
        verb = "is" if count == 1 else "are"
        amount = counted(count, thing)
        sentences.append(
            rng.choice(
                (
                    f"There {verb} {amount} {place}.",
                    f"{sentence_case(place)} there {verb} {amount}.",
                    f"{sentence_case(amount)} {verb} {place}.",
                    f"The {thing if count == 1 else plural(thing)} {place} {verb} {colour}.",
                )
            )
        )
    chosen = rng.randrange(len(things))
    one = counts[chosen] == 1
    nouns = [thing if count == 1 else plural(thing) for thing, count in zip(things, counts, strict=True)]
    sentences.append(
        rng.choice(
            (
                f"{visitor.first} looks for the {nouns[chosen]}. "
                f"{'It is' if one else 'They are'} {places[chosen]}.",
                f"{owner.first} takes the {nouns[chosen]} "
                f"and gives {'it' if one else 'them'} to {visitor.first}.",
                f"So the {building} has {listed([f'the {noun}' for noun in nouns])}.",
            )
        )
    )
    return " ".join(sentences)
