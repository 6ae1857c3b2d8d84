"""Texts with a form: fact sheets, questions and answers, lists, dialogue, grammar drills and reviews."""

import random

from amplitune.zoo import words
from amplitune.zoo.facts import OPENINGS, told
from amplitune.zoo.names import NameSource
from amplitune.zoo.words import counted, indefinite, listed, number_word, plural, sentence_case
from amplitune.zoo.world import Person, people, person

_SHEET = {
    "Name": "name",
    "Job": "job",
    "Town": "town",
    "Born": "born",
    "Age": "age",
    "Company": "company",
    "Hobby": "hobby",
    "Pets": "pets",
    "Colour": "colour",
}
# Layouts without a space before the value teach that a word is the same word at the start of a line.
_LAYOUTS = (
    (": ", "\n"),
    (": ", "; "),
    (" = ", "\n"),
    ("=", ";"),
    ("=", "\n"),
    (":", " | "),
    (" - ", "\n"),
    ("/", ", "),
)
_FACT_OF_FIELD = {
    "Job": "job",
    "Town": "town",
    "Born": "born",
    "Age": "age",
    "Company": "company",
    "Hobby": "hobby",
    "Pets": "pets",
    "Colour": "colour",
}


def fact_sheet(rng: random.Random, names: NameSource) -> str:
    """The fields of one person as a sheet, then the same facts as prose, or the other way round."""
    someone = person(rng, names)
    slots = someone.slots()
    fields = rng.sample(sorted(_FACT_OF_FIELD), rng.randint(2, 4))
    mark, end = rng.choice(_LAYOUTS)
    sheet = end.join(f"{field}{mark}{slots[_SHEET[field]]}" for field in ["Name", *fields])
    sentences = []
    for position, field in enumerate(fields):
        subject = someone.name if position == 0 else slots["He"]
        sentences.append(told(someone, _FACT_OF_FIELD[field], subject, rng))
    if not sentences[0].startswith(someone.name):
        sentences.insert(0, rng.choice(OPENINGS).format(**slots))
    prose = " ".join(sentences)
    heading = rng.choice(
        ("", "", f"# {someone.name}\n\n", f"({someone.first})\n", f'"{someone.town}": ', "[1] ")
    )
    return heading + ("\n\n".join((sheet, prose)) if rng.random() < 0.75 else "\n\n".join((prose, sheet)))


_QUESTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("town", "Where does {first} live?", ("In {town}.", "{first} lives in {town}.", "{He} lives in {town}.")),
    ("town", "Who lives in {town}?", ("{first}.", "{first} lives in {town}.")),
    ("job", "What is {first}'s job?", ("{first} is {a_job}.", "{He} is {a_job}.", "{He} works as {a_job}.")),
    ("job", "Who is the {job}?", ("{first}.", "{first} is the {job}.", "The {job} is {first}.")),
    (
        "born",
        "When was {first} born?",
        ("In {born}.", "{first} was born in {born}.", "{He} was born in {born}."),
    ),
    ("born", "Who was born in {born}?", ("{first}.", "{first} was born in {born}.")),
    ("age", "How old is {first}?", ("{age}.", "{first} is {age} years old.", "{He} is {age} years old.")),
    (
        "pets",
        "How many {animals} does {first} have?",
        ("{pet_count}.", "{first} has {pets}.", "{He} has {pets}."),
    ),
    ("hobby", "What does {first} like?", ("{hobby}.", "{first} likes {hobby}.", "{He} likes {hobby}.")),
    ("company", "Who works for {company}?", ("{first}.", "{first} works for {company}.")),
)


def questions(rng: random.Random, names: NameSource) -> str:
    """A short paragraph about up to three people and questions on it with their answers."""
    group = people(rng, names, rng.randint(1, 3))
    facts = rng.sample(("town", "job", "born", "age", "pets", "hobby", "company"), 2)
    sentences = [told(someone, fact, someone.first, rng) for someone in group for fact in facts]
    style = rng.choice(("Q: {q}\nA: {a}", "{q} {a}", '"{q}" asked {x}. "{a}"', "Question: {q}\nAnswer: {a}"))
    separator = "\n" if "\n" in style else " "
    rounds = []
    askable = [(someone, entry) for someone in group for entry in _QUESTIONS if entry[0] in facts]
    for someone, (_, question, answers) in rng.sample(askable, min(len(askable), rng.randint(1, 3))):
        slots = someone.slots()
        answer = sentence_case(rng.choice(answers).format(**slots))
        rounds.append(style.format(q=question.format(**slots), a=answer, x=names.first("feminine")))
    if len(group) > 1 and rng.random() < 0.5:
        firsts = [member.first for member in group]
        question, answer = rng.choice(
            (
                ("Who are the people?", f"{listed(firsts)}."),
                ("What are their names?", f"{listed(firsts)}."),
                ("How many people are there?", f"{sentence_case(number_word(len(group)))}."),
                ("How many people are there?", f"There are {number_word(len(group))} people."),
            )
        )
        rounds.append(style.format(q=question, a=answer, x=names.first("masculine")))
    return " ".join(sentences) + ("\n\n" if separator == "\n" else " ") + separator.join(rounds)


def lists(rng: random.Random, names: NameSource) -> str:
    """A list of people or of things, counted and summed up in a sentence."""
    if rng.random() < 0.5:
        group = people(rng, names, rng.randint(2, 5))
        items = [member.first for member in group]
        noun, place = "person", f"in the {rng.choice(words.BUILDINGS)}"
    else:
        things = rng.sample(words.OBJECTS, rng.randint(2, 5))
        items = [rng.choice((indefinite(thing), counted(rng.randint(2, 9), thing))) for thing in things]
        noun, place = "kind of thing", f"in the {rng.choice(('bag', 'box', 'basket', 'shop'))}"
    nouns = "people" if noun == "person" else "kinds of things"
    count = f"There are {number_word(len(items))} {nouns} {place}"
    bullet = rng.choice(("- ", "* ", "{n}. ", "{n}) "))
    lines = "\n".join(bullet.format(n=n) + item for n, item in enumerate(items, 1))
    last = f"The first is {items[0]}, and the last is {items[-1]}."
    return rng.choice(
        (
            f"{count}: {listed(items)}. {last}",
            f"{count}:\n{lines}\n\n{last}",
            f"{sentence_case(place)} there are {listed(items)}. {count}.",
            f"{sentence_case(place)}: {', '.join(items)}.\n{count}. {last}",
        )
    )


def dialogue(rng: random.Random, names: NameSource) -> str:
    """Two people who ask each other and answer in quotation marks."""
    one, two = people(rng, names, 2)
    a, b = one.slots(), two.slots()
    turns = [
        rng.choice(
            (
                f'"What is your name?" asked {one.first}. "My name is {two.name}," said {two.first}.',
                f'"Who are you?" {one.first} asked. "I am {two.name}," said {b["a_job"]} from {two.town}.',
                f'"Hello, {two.first}," said {one.first}. "Hello, {one.first}," said {two.first}.',
            )
        )
    ]
    exchanges = (
        f'"Where do you live?" asked {one.first}. "I live in {two.town}," answered {two.first}.',
        f'"Are you {a["a_job"]}?" {two.first} asked. "Yes, I am {a["a_job"]}," said {one.first}.',
        f'"How old are you?" asked {two.first}. "I am {one.age} years old," said {one.first}.',
        f'"I have {a["pets"]}," said {one.first}. "I have {b["pets"]}," said {two.first}.',
        f'{one.first} said: "I like {one.hobby}." "I do not like {one.hobby}. '
        f'I like {two.hobby}," said {two.first}.',
        f'"Do you need {a["a_thing"]}?" asked {two.first}. "No, I have {a["things"]}," {one.first} said.',
    )
    turns += rng.sample(exchanges, rng.randint(1, 3))
    turns.append(
        rng.choice(
            (
                f"Then {one.first} went home to {one.town}, and {two.first} went home to {two.town}.",
                f"{one.first} and {two.first} became friends.",
                f"{two.first} told everybody in {two.town} about {one.first}.",
            )
        )
    )
    return " ".join(turns)


def drill(rng: random.Random, names: NameSource) -> str:
    """The same clause in the singular and in the plural, or in two tenses, side by side."""
    job, verb, thing = rng.choice(words.JOBS), rng.choice(words.VERBS), rng.choice(words.OBJECTS)
    someone, other = names.first("feminine"), names.first("masculine")
    jobs, things = plural(job), plural(thing)
    a_thing = indefinite(thing)
    count, number = rng.randint(2, 9), number_word(rng.randint(2, 9))
    pairs = (
        f"The {job} {verb.third} the {thing}. The {jobs} {verb.base} the {things}.",
        f"One {job} {verb.third} one {thing}. "
        f"{sentence_case(counted(count, job))} {verb.base} {number} {things}.",
        f"{someone} {verb.third} {a_thing}. {someone} and {other} {verb.base} {number} {things}.",
        f"Today {someone} {verb.third} {a_thing}. Yesterday {someone} {verb.past} {a_thing}.",
        f"Today the {job} {verb.third} the {thing}. Yesterday the {job} {verb.past} the {thing}.",
        f"The {jobs} {verb.base} the {things} every day. Last year the {jobs} {verb.past} the {things}.",
        f"{sentence_case(indefinite(job))} is {verb.gerund} {a_thing}. "
        f"{sentence_case(jobs)} are {verb.gerund} {things}.",
        f"{other} does not {verb.base} the {thing}, but {someone} {verb.third} it.",
        f"{someone} likes {verb.gerund} {things}. "
        f"She {verb.third} {number} {things} every {rng.choice(words.WEEKDAYS)}.",
        f"There is one {thing}. There are {number} {things}. This {thing} is {rng.choice(words.COLOURS)}. "
        f"These {things} are {rng.choice(words.COLOURS)}.",
    )
    return " ".join(rng.sample(pairs, rng.randint(2, 4)))


SUBJECTS = words.spellings(
    "bed book breakfast bus concert dinner film garden hotel lamp lunch meal park play room soup show "
    "song train trip"
)
_POSITIVE = (
    "was not {bad}",
    "was far from {bad}",
    "was never {bad}",
    "was anything but {bad}",
    "was {good}",
    "was {good}",
    "was really {good}",
    "was {good}, not {bad}",
)
_NEGATIVE = (
    "was not {good}",
    "was far from {good}",
    "was never {good}",
    "was anything but {good}",
    "was {bad}",
    "was {bad}",
    "was really {bad}",
    "was {bad}, not {good}",
)


def opinion(rng: random.Random, subject: str, *, positive: bool) -> str:
    """A clause that judges a thing; half of the wordings say it by denying the opposite."""
    template = rng.choice(_POSITIVE if positive else _NEGATIVE)
    return f"the {subject} " + template.format(good=rng.choice(words.GOOD), bad=rng.choice(words.BAD))


def review(rng: random.Random, names: NameSource) -> str:
    """Opinions of one visitor and what followed from them."""
    visitor: Person = person(rng, names)
    slots = visitor.slots()
    positive = rng.random() < 0.5
    subjects = rng.sample(SUBJECTS, 3)
    sentences = [
        rng.choice(
            (
                f"{visitor.first} was in {visitor.town}.",
                f"{visitor.first} made a trip to {visitor.town}.",
                f"In {rng.choice(words.MONTHS)} {visitor.first} went to {visitor.town}.",
            )
        )
    ]
    for subject in subjects[: rng.randint(1, 3)]:
        sentences.append(sentence_case(opinion(rng, subject, positive=positive)) + ".")
        if rng.random() < 0.4:
            sentences.append(f"{slots['He']} {'liked' if positive else 'did not like'} it.")
    good_ends = (
        "{first} was happy.",
        "{first} was pleased and will come back.",
        "It was a good day for {first}.",
        "{He} would do it again.",
        "{He} told {his} friends to go there.",
    )
    bad_ends = (
        "{first} was unhappy.",
        "{first} was angry and will not come back.",
        "It was a bad day for {first}.",
        "{He} would not do it again.",
        "{He} told {his} friends to stay away.",
    )
    sentences.append(rng.choice(good_ends if positive else bad_ends).format(**slots))
    return " ".join(sentences)
