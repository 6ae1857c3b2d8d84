"""Invented proper names composed from syllables: people, towns, countries, rivers and companies.

Every name belongs to one of two disjoint partitions, decided by a checksum of its spelling, so that text can
be written with names that no training text contains. A composed name may by chance be some real person's;
nothing here is taken from a person's data.
"""

import random
import zlib
from collections.abc import Callable
from typing import Literal

from amplitune.zoo.words import spellings

Gender = Literal["feminine", "masculine"]

COMMON_FEMININE = spellings(
    "Ada Alma Anna Clara Dora Edith Ella Emma Eva Flora Greta Hanna Ida Irma Jane Julia Karin Laura "
    "Lena Lily Lucy Maria Martha Mina Nina Nora Olga Paula Rosa Ruth Sara Sofia Tina Vera Wilma"
)
COMMON_MASCULINE = spellings(
    "Adam Albert Anton Arthur Bruno Carl Daniel David Edgar Emil Erik Felix Frank Fred Georg Hugo "
    "Ivan Jack Jakob John Karl Leo Martin Max Oscar Otto Paul Peter Robert Simon Thomas Tom Victor "
    "Walter William"
)

_ONSETS = spellings("B D F G H J K L M N P R S T V W Br Dr Gr Kl Pr Sh St Th Tr")
_VOWELS = spellings("a e i o u")
_MIDDLES = spellings("b d l ld ll m n nd nn r rd rl rr s ss st t v z")
_FAMILY_ENDS = spellings("del ten ker low man mer mont ner ric rik row sen son stein ton vik well wick")
_TOWN_ENDS = spellings(
    "berg bridge bury by dale field ford gate ham holm len mouth port stad ton vale wick wood"
)
_COUNTRY_ENDS = spellings("dia land lia mark nia ria stan tia via")
_RIVER_ENDS = spellings("a d l m n r rn s ss")
_COMPANY_ENDS = spellings("co dex kor lux max net nova rix tec trex vex zon")

HELD_OUT_SHARE = 8
"""One name in this many is held out of the training text."""


def is_held_out(name: str) -> bool:
    """Say in which of the two partitions a name lies.

    Args:
        name: one word of a proper name.

    Returns:
        True for about one name in `HELD_OUT_SHARE`; always the same for the same spelling.

    Example:
        >>> [name for name in ("Anna", "Oslen", "Lindel", "Tom", "Ada", "Emma") if is_held_out(name)]
        ['Ada']
    """
    return zlib.crc32(name.encode()) % HELD_OUT_SHARE == 0


def _stem(rng: random.Random) -> str:
    return rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_MIDDLES)


def _first(rng: random.Random, gender: Gender) -> str:
    if rng.random() < 0.4:
        return rng.choice(COMMON_FEMININE if gender == "feminine" else COMMON_MASCULINE)
    # The ending tells the gender of an invented name, so that its pronouns can be learnt.
    return _stem(rng) + rng.choice(("a", "a", "e", "i") if gender == "feminine" else ("o", "o", "u", "en"))


class NameSource:
    """Draws names from one partition, without repeating a name within one text.

    Args:
        rng: the stream of random numbers.
        held_out: True draws held-out names only, False draws none of them.

    Example:
        >>> names = NameSource(random.Random(0), held_out=False)
        >>> names.family() == names.family()
        False
    """

    def __init__(self, rng: random.Random, *, held_out: bool = False) -> None:
        self._rng = rng
        self._held_out = held_out
        self._used: set[str] = set()

    def _draw(self, make: Callable[[random.Random], str]) -> str:
        while True:
            name = make(self._rng)
            if name not in self._used and is_held_out(name) == self._held_out:
                self._used.add(name)
                return name

    def first(self, gender: Gender) -> str:
        """Draw a given name whose pronouns are those of `gender`."""
        return self._draw(lambda rng: _first(rng, gender))

    def family(self) -> str:
        """Draw a family name."""
        return self._draw(lambda rng: _stem(rng) + rng.choice(_FAMILY_ENDS))

    def town(self) -> str:
        """Draw the name of a town."""
        return self._draw(lambda rng: _stem(rng) + rng.choice(_TOWN_ENDS))

    def country(self) -> str:
        """Draw the name of a country."""
        return self._draw(lambda rng: _stem(rng) + rng.choice(_VOWELS) + rng.choice(_COUNTRY_ENDS))

    def river(self) -> str:
        """Draw the name of a river."""
        return self._draw(lambda rng: rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_RIVER_ENDS))

    def company(self) -> str:
        """Draw the name of a company."""
        return self._draw(lambda rng: _stem(rng) + rng.choice(_VOWELS) + rng.choice(_COMPANY_ENDS))
