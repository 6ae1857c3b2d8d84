"""The lexicon: common nouns, verbs and adjectives with their inflections, and the rules of agreement."""

from dataclasses import dataclass


def spellings(text: str) -> tuple[str, ...]:
    """Split a list of words that is written as one string."""
    return tuple(text.split())


NUMBER_WORDS = spellings("no one two three four five six seven eight nine ten eleven twelve")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = spellings("January February March April May June July August September October November December")
COLOURS = ("black", "blue", "brown", "green", "grey", "orange", "red", "white", "yellow")
DIRECTIONS = ("north", "south", "east", "west", "middle")
SIZES = ("big", "small", "large", "tiny")

JOBS = spellings(
    "actor artist baker barber builder butcher carpenter clerk cook dancer dentist doctor driver "
    "editor engineer farmer fisher gardener guard guide hunter inventor judge lawyer librarian "
    "mechanic miller miner musician nurse officer painter pilot plumber poet potter printer sailor "
    "scientist singer smith soldier student surgeon tailor teacher trader waiter weaver writer"
)

ANIMALS = spellings(
    "bird cat chicken cow dog donkey duck fish fox frog goat goose hen horse lamb mouse owl ox parrot "
    "pig pony rabbit sheep snake turtle"
)

OBJECTS = spellings(
    "apple bag basket bell book boot bottle bowl box brush bucket candle chair clock coat cup drum "
    "egg flute glass hammer hat jar kettle key knife ladder lamp map mirror needle onion orange pan "
    "pear pen pencil picture plate pot ring rope saddle scarf shelf shirt shoe spoon stamp stool "
    "table tool toy umbrella vase wheel window"
)

BUILDINGS = spellings(
    "bakery bank barn bridge castle church factory farm garden harbour hospital hotel inn library "
    "market mill museum office park school shop square station temple theatre tower workshop"
)

HOBBIES = spellings(
    "chess cooking cycling dancing drawing fishing football gardening hiking knitting music painting "
    "poetry reading riding rowing running sailing singing swimming tennis walking weaving"
)

TRAITS = spellings(
    "brave calm careful cheerful clever friendly funny gentle honest kind lazy loud patient proud quiet shy"
)

GOOD = spellings(
    "amazing delightful excellent fine good great lovely nice perfect pleasant splendid superb wonderful"
)
BAD = spellings("awful bad boring dreadful dull horrible nasty poor sad terrible ugly unpleasant")

_IRREGULAR_PLURALS = {
    "fish": "fish",
    "goose": "geese",
    "knife": "knives",
    "mouse": "mice",
    "ox": "oxen",
    "scarf": "scarves",
    "sheep": "sheep",
    "shelf": "shelves",
    "child": "children",
    "person": "people",
    "man": "men",
    "woman": "women",
}


@dataclass(frozen=True, slots=True)
class Verb:
    """A transitive verb and its forms."""

    base: str
    third: str
    past: str
    gerund: str


def _verb(spelling: str) -> Verb:
    return Verb(*spelling.split("/"))


VERBS = tuple(
    _verb(spelling)
    for spelling in spellings(
        "break/breaks/broke/breaking bring/brings/brought/bringing buy/buys/bought/buying "
        "carry/carries/carried/carrying clean/cleans/cleaned/cleaning collect/collects/collected/collecting "
        "draw/draws/drew/drawing find/finds/found/finding hide/hides/hid/hiding hold/holds/held/holding "
        "keep/keeps/kept/keeping lift/lifts/lifted/lifting lose/loses/lost/losing make/makes/made/making "
        "move/moves/moved/moving need/needs/needed/needing paint/paints/painted/painting "
        "repair/repairs/repaired/repairing see/sees/saw/seeing sell/sells/sold/selling "
        "show/shows/showed/showing steal/steals/stole/stealing take/takes/took/taking "
        "throw/throws/threw/throwing use/uses/used/using want/wants/wanted/wanting "
        "wash/washes/washed/washing watch/watches/watched/watching"
    )
)


def plural(noun: str) -> str:
    """Inflect a noun of the lexicon for the plural.

    Args:
        noun: a singular noun.

    Returns:
        The plural form.

    Example:
        >>> [plural(noun) for noun in ("cat", "box", "bakery", "toy", "mouse", "sheep")]
        ['cats', 'boxes', 'bakeries', 'toys', 'mice', 'sheep']
    """
    if noun in _IRREGULAR_PLURALS:
        return _IRREGULAR_PLURALS[noun]
    if noun.endswith(("s", "x", "ch", "sh", "z")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def indefinite(phrase: str) -> str:
    """Put the indefinite article before a noun phrase of the lexicon.

    Args:
        phrase: a noun phrase in the singular; "honest" is the only word whose first letter is silent.

    Returns:
        The phrase with "a" or "an".

    Example:
        >>> indefinite("potter"), indefinite("old potter"), indefinite("honest potter")
        ('a potter', 'an old potter', 'an honest potter')
    """
    vowel = phrase[0] in "aeiouAEIOU" or phrase.startswith("honest")
    return f"{'an' if vowel else 'a'} {phrase}"


def counted(number: int, noun: str) -> str:
    """Write a number of things, with the noun in the right number.

    Args:
        number: how many, 0 to 12 in words, more in digits.
        noun: a singular noun.

    Returns:
        The phrase.

    Example:
        >>> counted(0, "cat"), counted(1, "cat"), counted(3, "mouse"), counted(40, "cat")
        ('no cats', 'one cat', 'three mice', '40 cats')
    """
    return f"{number_word(number)} {noun if number == 1 else plural(noun)}"


def number_word(number: int) -> str:
    """Write a number in words up to twelve and in digits above."""
    return NUMBER_WORDS[number] if 0 <= number < len(NUMBER_WORDS) else str(number)


def listed(items: list[str]) -> str:
    """Join items as an English list.

    Example:
        >>> listed(["Anna"]), listed(["Anna", "Tom"]), listed(["Anna", "Tom", "Leo"])
        ('Anna', 'Anna and Tom', 'Anna, Tom and Leo')
    """
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def sentence_case(text: str) -> str:
    """Raise the first letter of a sentence."""
    return text[:1].upper() + text[1:]
