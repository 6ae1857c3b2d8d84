"""Lists and counts as English writes them."""

from collections.abc import Iterable


def joined(words: Iterable[str], last: str = "and") -> str:
    """Join words into a list.

    Example:
        >>> joined(["full", "lora", "qaa"]), joined(["full", "lora"], "or"), joined(["qaa"]), joined([])
        ('full, lora and qaa', 'full or lora', 'qaa', '')
    """
    *first, end = list(words) or [""]
    return f"{', '.join(first)} {last} {end}" if first else end


def counted(number: int, noun: str, plural: str = "") -> str:
    """Write a number of things.

    Example:
        >>> counted(1, "run"), counted(3, "run"), counted(0, "study", "studies")
        ('1 run', '3 runs', '0 studies')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def capital(sentence: str) -> str:
    """Begin a sentence with a capital; a method's name, which may begin it, keeps its own spelling otherwise.

    Example:
        >>> capital("on sentiment, qaa is worse.")
        'On sentiment, qaa is worse.'
    """
    return sentence[:1].upper() + sentence[1:]


def sentence(text: str) -> str:
    """End a text as a sentence ends, once.

    Example:
        >>> sentence("too few seeds"), sentence("Too few seeds."), sentence("")
        ('too few seeds.', 'Too few seeds.', '')
    """
    text = text.strip()
    return text if not text or text[-1] in ".!?" else f"{text}."


def spans(numbers: Iterable[int]) -> str:
    """Write whole numbers with runs of three or more folded.

    Example:
        >>> spans([4, 0, 1, 2, 7])
        '0 to 2, 4 and 7'
    """
    groups: list[list[int]] = []
    for number in sorted(set(numbers)):
        if groups and number == groups[-1][-1] + 1:
            groups[-1].append(number)
        else:
            groups.append([number])
    parts = []
    for group in groups:
        parts += [f"{group[0]} to {group[-1]}"] if len(group) > 2 else [str(number) for number in group]
    return joined(parts)
