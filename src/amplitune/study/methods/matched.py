"""Variants of a study's methods whose numbers of trainable parameters are as equal as their sizes allow."""

from collections.abc import Callable, Mapping
from typing import Any

from amplitune.adapters.qaa.layer import QAALayer
from amplitune.errors import ConfigError, near_matches
from amplitune.study.data.tasks import Task
from amplitune.study.methods.registry import REFERENCES, apply_method, find_method
from amplitune.study.methods.sizes import nearest_rung, size_ladder, word_ladder
from amplitune.study.running.generation import context_length
from amplitune.study.running.models import load_config, load_tokenizer, skeleton
from amplitune.study.settings.config import RunSpec, StudyConfig
from amplitune.study.settings.method_config import MethodConfig

TOLERANCE = 0.1
"""How far from the budget, as a share of it, a size may be without a word on it."""


def matched_methods(
    study: StudyConfig, tasks: Mapping[str, Task], say: Callable[[str], object]
) -> list[MethodConfig]:
    """Add a variant of every method that has a size, the one nearest to `matched_parameters`.

    What is counted is what the adapter trains. What a classifier trains besides, its head, is the same for
    all methods and is left out. QAA's controls are not matched: they are compared with the method that they
    control. Where tasks have models of their own, the sizes are matched on that of the first task.

    Args:
        study: the study.
        tasks: its tasks by name, for the labels of a classifier.
        say: takes a line on each variant, and on each method that has none.

    Returns:
        The study's methods, then the variants, `<name>-matched`; the methods as they are where the study
        matches nothing or holds the variants already.

    Raises:
        ConfigError: the budget is no number of parameters; another method has the name of a variant; or a
            variant that is there was matched to another budget.

    Source:
        Design of the comparison: two views side by side, best-tuned and matched on trainable parameters.
    """
    if study.matched_parameters is None:
        return list(study.methods)
    counter = _Counter(study, tasks)
    budget = _budget(study, counter)
    by_name = {method.name: method for method in study.methods}
    models = {task.model_name_or_path or study.model_name_or_path for task in study.tasks}
    if len(models) > 1:
        say(f"Sizes are matched on the model of task {study.tasks[0].name}; on the others they may differ.")
    variants = []
    for method in study.methods:
        if method.matched_to is not None or method.control_of is not None or method.method in REFERENCES:
            continue
        name = f"{method.name}-matched"
        if name in by_name:
            _check_present(by_name[name], budget)
            continue
        try:
            config, found = _nearest(method, budget, counter)
        except _NoSizeError as reason:
            say(f"{method.name} is not in the matched view: {reason}.")
            continue
        share = (found - budget) / budget
        said = f"{name}: {found:,} trainable parameters for {budget:,} ({share:+.1%})"
        say(f"{said}; none of its sizes is nearer." if abs(share) > TOLERANCE else f"{said}.")
        variants.append(
            MethodConfig(
                method=method.method,
                name=name,
                config=config,
                training=dict(method.training),
                search_space=_without_sizes(method.search_space),
                matched_to=budget,
            )
        )
    return [*study.methods, *variants]


class _NoSizeError(Exception):
    """A method has no size that can be matched; says why."""


class _Counter:
    """Counts what an adapter trains, on the model of the study's first task."""

    def __init__(self, study: StudyConfig, tasks: Mapping[str, Task]) -> None:
        first = study.runs()[0]
        self._task = tasks[first.task.name]
        self._spec: RunSpec = first.model_copy(update={"task": first.task.resolved(self._task.kind)})
        self._config = load_config(self._spec, load_tokenizer(self._spec), self._task.labels)
        self.context = context_length(skeleton(self._spec, self._config))

    def model(self, method: MethodConfig, config: Mapping[str, Any]) -> Any:
        """The model with the method's adapter, without weights."""
        bare = skeleton(self._spec, self._config)
        return apply_method(bare, find_method(method.method), self._task.kind, config)

    def count(self, method: MethodConfig, config: Mapping[str, Any]) -> int:
        """What the adapter trains; a classifier's head is a module to save, which peft copies."""
        return sum(
            parameter.numel()
            for name, parameter in self.model(method, config).named_parameters()
            if parameter.requires_grad and ".modules_to_save." not in name
        )

    def wires(self, method: MethodConfig, config: Mapping[str, Any]) -> int:
        """Of the smallest circuit of a QAA adapter."""
        return min(
            circuit.n_qubits
            for module in self.model(method, config).modules()
            if isinstance(module, QAALayer)
            for circuit in module.qaa_circuit.values()
        )


def _budget(study: StudyConfig, counter: _Counter) -> int:
    wanted = study.matched_parameters
    if isinstance(wanted, int):
        return wanted
    method = next((entry for entry in study.methods if entry.name == wanted), None)
    if method is None:
        names = [entry.name for entry in study.methods if entry.matched_to is None]
        raise ConfigError(
            "`matched_parameters` must be a number of parameters or the name of a method of the study, but "
            f"is {wanted!r}. {near_matches(str(wanted), names)}"
        )
    try:
        count = counter.count(method, method.config)
    except NotImplementedError:
        count = 0
    if count < 1:
        raise ConfigError(
            "`matched_parameters` must name a method whose parameters can be counted before it runs, but "
            f"{wanted} has none. Give a number, or name another method."
        )
    return count


def _nearest(method: MethodConfig, budget: int, counter: _Counter) -> tuple[dict[str, Any], int]:
    """The config of a method's size nearest to the budget, and its count."""
    kind = find_method(method.method)

    def count(settings: Mapping[str, Any]) -> int:
        return counter.count(method, {**method.config, **settings})

    ladder = size_ladder(kind, method.config, counter.context)
    if ladder is None:
        raise _NoSizeError(
            "its preset fixes its size" if method.config.get("preset") else "it has no setting for its size"
        )
    try:
        rung = nearest_rung(ladder, budget, count)
    except NotImplementedError:
        raise _NoSizeError("it starts from the weights, so its parameters cannot be counted before") from None
    settings, found = ladder.settings(rung), count(ladder.settings(rung))
    if kind.peft_type == "QAA" and abs(found - budget) > TOLERANCE * budget:
        # The largest number of circuits that stays below: more words can only add to it.
        circuits = rung - 1 if found > budget and rung > 1 else rung
        words = word_ladder(kind, method.config, circuits, counter.wires(method, method.config))
        if words is not None:
            finer = words.settings(nearest_rung(words, budget, count))
            if abs(count(finer) - budget) < abs(found - budget):
                settings, found = finer, count(finer)
    return {**method.config, **settings}, found


def _check_present(variant: MethodConfig, budget: int) -> None:
    if variant.matched_to is None:
        raise ConfigError(
            f"`methods`: the name {variant.name!r} must be free for a variant that `matched_parameters` "
            "adds, but belongs to another method. Rename that method, or unset matched_parameters."
        )
    if variant.matched_to != budget:
        raise ConfigError(
            f"`matched_to` of method {variant.name} must be {budget}, as matched_parameters says, but is "
            f"{variant.matched_to}. Remove that method, and its variant is made anew."
        )


def _without_sizes(space: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The search space of a variant, whose size is fixed."""
    if space is None:
        return None
    return {key: value for key, value in space.items() if not key.startswith("config.")}
