"""Prose paragraphs about invented people, companies and towns, with agreement and repeated mention."""

import random

from amplitune.zoo import words
from amplitune.zoo.facts import CONTRASTS, FACTS, OPENINGS, RECALLS, told
from amplitune.zoo.names import NameSource
from amplitune.zoo.words import counted, listed, number_word, plural, sentence_case
from amplitune.zoo.world import PRESENT_YEAR, Person, people, person


def biography(rng: random.Random, names: NameSource) -> str:
    """A paragraph about one person that names the person and the facts again towards its end."""
    someone = person(rng, names)
    slots = someone.slots()
    opening = rng.choice(OPENINGS)
    known = {fact for fact in FACTS if f"{{{fact}}}" in opening or f"{{a_{fact}}}" in opening}
    sentences = [opening.format(**slots)]
    facts = rng.sample(sorted(FACTS.keys() - known), rng.randint(2, 5))
    for fact in facts:
        subject = slots["He"] if rng.random() < 0.7 else someone.first
        sentences.append(told(someone, fact, subject, rng))
    known.update(facts)
    recalls = [text for text, needs in RECALLS if needs <= known]
    sentences += [text.format(**slots) for text in rng.sample(recalls, min(len(recalls), rng.randint(1, 3)))]
    return " ".join(sentences)


def two_people(rng: random.Random, names: NameSource) -> str:
    """Two people with the same facts, told one after the other and then compared."""
    one, two = people(rng, names, 2)
    facts = rng.sample(("job", "town", "born", "pets", "hobby", "company", "trait"), rng.randint(1, 3))
    sentences = [
        rng.choice(
            ("{a_name} and {b_name} are friends.", "{a_name} met {b_name}.", "{a_first} knows {b_first}.")
        ).format(**one.slots("a_"), **two.slots("b_"))
    ]
    for someone in (one, two):
        sentences += [told(someone, fact, someone.first, rng) for fact in facts]
    if rng.random() < 0.5:
        sentences.append(_who(rng, one, two, facts))
    older, younger = (one, two) if one.born < two.born else (two, one)
    if "born" in facts:
        sentences.append(
            rng.choice(
                (
                    "{a_first} is older than {b_first}.",
                    "{b_first} is younger than {a_first}.",
                    "{a_first} is the older one, and {b_first} is the younger one.",
                )
            ).format(**older.slots("a_"), **younger.slots("b_"))
        )
    if "pets" in facts:
        sentences.append(_more(rng, one, two))
    if "job" in facts:
        sentences.append(f"The {one.job} is called {one.first}, and the {two.job} is called {two.first}.")
    return " ".join(sentences)


def _who(rng: random.Random, one: Person, two: Person, facts: list[str]) -> str:
    someone = rng.choice((one, two))
    other = two if someone is one else one
    wording = rng.choice(CONTRASTS[rng.choice(facts)])
    return wording.format(**someone.slots("a_"), **other.slots("b_"))


def _more(rng: random.Random, one: Person, two: Person) -> str:
    many, few = (one, two) if one.pets >= two.pets else (two, one)
    if one.animal != two.animal:
        return (
            f"{many.first} has {number_word(many.pets)} animals, and {few.first} has {number_word(few.pets)}."
        )
    animals = plural(one.animal)
    if one.pets == two.pets:
        return f"{one.first} has as many {animals} as {two.first}."
    return rng.choice(
        (
            f"{many.first} has more {animals} than {few.first}.",
            f"{few.first} has fewer {animals} than {many.first}.",
        )
    )


def family(rng: random.Random, names: NameSource) -> str:
    """A family that shares a name and a town, with relations told from both sides."""
    first = person(rng, names)
    rest = [person(rng, names, family=first.family, town=first.town) for _ in range(rng.randint(1, 3))]
    members = [first, *rest]
    firsts = [member.first for member in members]
    sentences = [
        rng.choice(
            (
                f"The {first.family} family lives in {first.town}.",
                f"The family of {first.name} lives in {first.town}.",
            )
        ),
        f"Their names are {listed(firsts)}." if rng.random() < 0.5 else f"There are {listed(firsts)}.",
    ]
    relation = rng.choice(("sibling", "cousin", "child"))
    for member in rest:
        sentences.append(f"{member.first} is the {member.kin(relation)} of {first.first}.")
        if relation != "child":
            possessive = member.slots()["his"]
            sentences.append(f"{first.first} is {possessive} {first.kin(relation)}.")
    for member in rng.sample(members, rng.randint(1, len(members))):
        sentences.append(told(member, rng.choice(("job", "hobby", "pets", "age")), member.first, rng))
    if rng.random() < 0.6:
        sentences.append(f"There are {number_word(len(members))} people in the {first.family} family.")
    sentences.append(
        f"{listed(firsts)} {rng.choice(('are all happy', 'live together', 'often eat together'))}."
    )
    return " ".join(sentences)


def transaction(rng: random.Random, names: NameSource) -> str:
    """Things that change hands between two people, counted in small numbers."""
    one, two = people(rng, names, 2)
    thing, before = one.thing, rng.randint(3, 12)
    given = rng.randint(1, before - 2)
    he = one.slots()["he"]
    them = "it" if given == 1 else "them"
    sentences = [
        rng.choice(
            (
                f"On {rng.choice(words.WEEKDAYS)}, {one.first} bought {counted(before, thing)}.",
                f"{one.name} had {counted(before, thing)}.",
                f"In {rng.choice(words.MONTHS)}, {one.first} found {counted(before, thing)} in {one.town}.",
            )
        ),
        rng.choice(
            (
                f"{sentence_case(he)} gave {counted(given, thing)} to {two.first}.",
                f"{two.name} took {counted(given, thing)}.",
                f"{two.first} wanted {counted(given, thing)}, "
                f"so {one.first} sold {them} to {two.slots()['him']}.",
            )
        ),
        f"Now {one.first} has {counted(before - given, thing)}, and {two.first} has {counted(given, thing)}.",
    ]
    if rng.random() < 0.5:
        sentences.append(f"Together they have {counted(before, thing)}.")
    if rng.random() < 0.5:
        sentences.append(f"{two.first} thanked {one.first} for the {thing if given == 1 else plural(thing)}.")
    return " ".join(sentences)


def company(rng: random.Random, names: NameSource) -> str:
    """A company, its founder, its products and its size."""
    founder, boss = people(rng, names, 2)
    name, thing, year = founder.company, plural(founder.thing), founder.born + rng.randint(18, 19)
    staff = rng.randint(13, 990)
    start = (
        f"{name} is a company in {founder.town}.",
        f"{name} is {words.indefinite(rng.choice(words.SIZES))} company from {founder.town}.",
        f"{name}, a company in {founder.town}, makes {thing}.",
    )
    middle = [
        f"It makes {thing}.",
        f"The {thing} of {name} are {rng.choice(words.GOOD)}.",
        f"It was founded in {year} by {founder.name}.",
        f"It has {staff} workers.",
        f"{name} employs {staff} people.",
        f"{boss.name} leads {name}.",
        f"{name} sells {thing} in {founder.town} and {boss.town}.",
        f"{founder.first} was {words.indefinite(founder.job)} before {founder.slots()['he']} founded {name}.",
    ]
    end = (
        f"{founder.name} still works for {name}.",
        f"Everybody in {founder.town} uses {thing} from {name}.",
        f"In {PRESENT_YEAR}, {name} was {PRESENT_YEAR - year} years old.",
        f"The {staff} workers of {name} live in {founder.town}.",
    )
    return " ".join([rng.choice(start), *rng.sample(middle, rng.randint(3, 5)), rng.choice(end)])


def town(rng: random.Random, names: NameSource) -> str:
    """A town, its country and its buildings, singular and plural."""
    name, country, river = names.town(), names.country(), names.river()
    mayor = person(rng, names, town=name)
    built = rng.sample(words.BUILDINGS, 3)
    counts = [rng.randint(1, 6) for _ in built]
    where = rng.choice(words.DIRECTIONS)
    size = rng.choice(words.SIZES)
    sentences = [
        rng.choice(
            (
                f"{name} is {words.indefinite(size)} town in the {where} of {country}.",
                f"In the {where} of {country} lies {name}, {words.indefinite(size)} town.",
                f"{name} ({country}) is {words.indefinite(size)} town on the river {river}.",
            )
        )
    ]
    for count, building in zip(counts, built, strict=True):
        verb = "is" if count == 1 else "are"
        sentences.append(
            rng.choice(
                (
                    f"There {verb} {counted(count, building)} in {name}.",
                    f"It has {counted(count, building)}.",
                    f"{name} has {counted(count, building)}.",
                )
            )
        )
    extra = [
        f"The river {river} flows through {name}.",
        f"{sentence_case(number_word(rng.randint(2, 12)))} thousand people live in {name}.",
        f"The mayor of {name} is {mayor.name}.",
        f"Most people in {name} are {plural(mayor.job)}.",
        f"{name} is in {country}.",
        f"The {built[0] if counts[0] == 1 else plural(built[0])} of {name} "
        f"{'was' if counts[0] == 1 else 'were'} built in {rng.randint(1500, 1990)}.",
    ]
    sentences += rng.sample(extra, rng.randint(2, 4))
    sentences.append(f"{mayor.first} lives in {name} and likes {mayor.hobby}.")
    return " ".join(sentences)
