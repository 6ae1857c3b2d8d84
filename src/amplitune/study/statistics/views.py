"""Which method is compared with which: the views of a study."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amplitune.study.statistics.statements import View


@dataclass(frozen=True)
class StudyMethod:
    """A method of a study as its resolved file has it.

    Args:
        name: what the study calls it.
        method: what it is: "lora", "base", ...
        control_of: the method that it is a control of.
        matched: whether its size was matched to a number of parameters.
    """

    name: str
    method: str
    control_of: str | None = None
    matched: bool = False


@dataclass(frozen=True)
class Pair:
    """A method to be compared with a baseline in a view."""

    method: str
    baseline: str
    view: View


def study_methods(study: Mapping[str, Any]) -> list[StudyMethod]:
    """Read the methods of a study.

    Args:
        study: the content of study.resolved.yaml; `methods` are names or mappings.

    Example:
        >>> study_methods({"methods": ["base", {"method": "qaa", "name": "frozen", "control_of": "qaa"}]})[1]
        StudyMethod(name='frozen', method='qaa', control_of='qaa', matched=False)
    """
    found = []
    for entry in study.get("methods") or ():
        if isinstance(entry, Mapping):
            method = str(entry.get("method") or entry.get("name"))
            control_of = entry.get("control_of")
            found.append(
                StudyMethod(
                    str(entry.get("name") or method),
                    method,
                    str(control_of) if control_of else None,
                    entry.get("matched_to") is not None,
                )
            )
        else:
            found.append(StudyMethod(str(entry), str(entry)))
    return found


def reference(methods: list[StudyMethod], method: str) -> str | None:
    """The name of the study's own "base", "bias" or "full"; None if it has none.

    Example:
        >>> reference([StudyMethod("everything", "full")], "full")
        'everything'
    """
    own = [m for m in methods if m.method == method and not m.control_of and not m.matched]
    return own[0].name if own else None


def baseline_of(study: Mapping[str, Any], methods: list[StudyMethod]) -> str:
    """The study's baseline; if it names none, lora or the first method that is not the base model."""
    names = [method.name for method in methods]
    trained = [m.name for m in methods if m.method != "base" and not m.control_of and not m.matched]
    return str(study.get("baseline") or ("lora" if "lora" in names else next(iter([*trained, *names]), "")))


def matched_baseline(study: Mapping[str, Any], methods: list[StudyMethod]) -> str | None:
    """The method that matched variants are compared with: the baseline's own variant, `<baseline>-matched`.

    A baseline whose number of parameters is the one to match stands for itself, should it have no variant.

    Args:
        study: the content of study.resolved.yaml.
        methods: its methods.

    Returns:
        Its name; None if there is none.

    Example:
        >>> names = ["lora-wide-matched", "lora-matched"]
        >>> variants = [StudyMethod(name, "lora", matched=True) for name in names]
        >>> matched_baseline({"baseline": "lora"}, variants)
        'lora-matched'
    """
    baseline = baseline_of(study, methods)
    if f"{baseline}-matched" in [method.name for method in methods if method.matched]:
        return f"{baseline}-matched"
    return baseline if study.get("matched_parameters") == baseline else None


def pairs(study: Mapping[str, Any], methods: list[StudyMethod]) -> list[Pair]:
    """List what is compared with what in the views "tuned", "matched" and "control".

    Args:
        study: the content of study.resolved.yaml.
        methods: its methods.

    Returns:
        The pairs, view by view. Matched variants are in none where the baseline has no variant of its own:
        one of another size would not be a match.

    Example:
        >>> named = [StudyMethod("lora", "lora"), StudyMethod("qaa", "qaa")]
        >>> named.append(StudyMethod("f", "qaa", control_of="qaa"))
        >>> [(pair.method, pair.baseline, pair.view) for pair in pairs({"baseline": "lora"}, named)]
        [('qaa', 'lora', 'tuned'), ('f', 'qaa', 'control')]
    """
    baseline = baseline_of(study, methods)
    matched = matched_baseline(study, methods)
    found: list[Pair] = []
    for method in methods:
        if method.control_of:
            found.append(Pair(method.name, method.control_of, "control"))
        elif method.matched and matched and method.name != matched:
            found.append(Pair(method.name, matched, "matched"))
        elif not method.matched and method.name != baseline:
            found.append(Pair(method.name, baseline, "tuned"))
    views: list[View] = ["tuned", "matched", "control"]
    return sorted(found, key=lambda pair: views.index(pair.view))
