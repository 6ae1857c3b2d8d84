"""The controls of a study's QAA methods: what of their result is due to the circuit."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from amplitune.adapters.control.config import FIELDS_OF
from amplitune.adapters.qaa.config import PAPER_CIRCUIT, QAAConfig
from amplitune.adapters.targeting import TargetingConfig
from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz
from amplitune.quantum.readout import INTERFEROMETRIC, PROBABILITIES, WORDS
from amplitune.study.methods.registry import CONTROLS, METHODS, adapter_config, find_method
from amplitune.study.settings.method_config import MethodConfig

CONFIG, READOUT, WIDTH = "config.", "config.readout", "config.width"


def with_controls(methods: Sequence[MethodConfig]) -> list[MethodConfig]:
    """Add the controls of every QAA method behind it.

    A control has the config of its method as far as it has the same fields, its training settings and its
    search space. A study that holds them already is left as it is. Controls and matched variants get none.

    Args:
        methods: the methods of a study.

    Returns:
        The methods, each followed by those of its controls that are missing, `<name>-frozen` and so on.

    Raises:
        ConfigError: another method has the name of a control.

    Example:
        >>> [method.name for method in with_controls([MethodConfig(method="qaa", name="q")])]
        ['q', 'q-frozen', 'q-no-entangler', 'q-projection', 'q-squares', 'q-givens']
    """
    by_name = {method.name: method for method in methods}
    found = []
    for method in methods:
        found.append(method)
        if not _has_controls(method):
            continue
        for control in _controls(method)[0]:
            present = by_name.get(control.name)
            if present is None:
                found.append(control)
            elif present.control_of != method.name:
                raise ConfigError(
                    f"`methods`: the name {control.name!r} must be free for a control of {method.name!r}, "
                    "which `controls` adds, but belongs to another method. Rename that method, remove it, or "
                    f"set control_of: {method.name} to use it as the control."
                )
    return found


def controls_left_out(methods: Sequence[MethodConfig]) -> list[str]:
    """Say which controls a study does not get, and why.

    Args:
        methods: the methods of a study, with or without their controls.

    Returns:
        A sentence for each control that is not defined for its method; one if no method has controls.
    """
    with_some = [method for method in methods if _has_controls(method)]
    if not with_some:
        return ["`controls` adds nothing: the study has no QAA method."]
    return [sentence for method in with_some for sentence in _controls(method)[1]]


def check_controls(methods: Sequence[MethodConfig]) -> None:
    """Refuse a control of a method that the study does not have.

    Raises:
        ConfigError: `control_of` names no method, or another control.
    """
    owners = [method.name for method in methods if method.control_of is None]
    for method in methods:
        if method.control_of is not None and method.control_of not in owners:
            raise ConfigError(
                f"`control_of` of method {method.name!r} must be the name of a method of the study that is "
                f"no control itself, but is {method.control_of!r}. Add that one, or remove {method.name!r}."
            )


def _has_controls(method: MethodConfig) -> bool:
    return (
        find_method(method.method).peft_type == "QAA"
        and method.method not in CONTROLS
        and method.control_of is None
        and method.matched_to is None
    )


def _controls(method: MethodConfig) -> tuple[list[MethodConfig], list[str]]:
    """The controls of a QAA method, and sentences about those that it has not."""
    config = adapter_config(find_method(method.method), "generation", method.config)
    assert isinstance(config, QAAConfig)
    made, left_out = [], []
    for name in CONTROLS:
        control = f"{method.name}-{name.removeprefix('qaa-')}"
        if reason := _undefined(name, config):
            left_out.append(f"{method.name} has no control {control}: {reason}.")
            continue
        is_qaa = METHODS[name].peft_type == "QAA"
        settings = _circuit_settings(name, method) if is_qaa else _control_settings(name, method, config)
        made.append(
            MethodConfig(
                method=name,
                name=control,
                config=settings,
                training=dict(method.training),
                search_space=_search_space(name, method.search_space),
                control_of=method.name,
            )
        )
    return made, left_out


def _undefined(name: str, config: QAAConfig) -> str:
    """Why a QAA method has no such control; empty if it has."""
    if name == "qaa-frozen" and not config.train_angles:
        return "its angles are frozen already"
    if name == "qaa-no-entangler" and config.entangler in ("none", []):
        return "it has no entangler"
    for pattern, replaced in (("readout_pattern", "width"), ("depth_pattern", "depth")):
        is_qaa = METHODS[name].peft_type == "QAA"
        if getattr(config, pattern) and not is_qaa and replaced in _fields_of(name):
            return f"it has one {replaced} for all modules, the {pattern} gives some of them another"
    if config.fused_parts and METHODS[name].peft_type != "QAA":
        return "it adapts parts of fused projections, which have circuits of their own"
    if name == "qaa-givens" and config.share_circuit:
        return "one circuit serves several of its modules"
    if name in ("qaa-squares", "qaa-givens") and config.readout == INTERFEROMETRIC:
        return "the readout 'interferometric' is linear in the input, squares are not"
    if name in ("qaa-squares", "qaa-givens") and config.readout == PROBABILITIES:
        return (
            "its features vary like the values of Pauli words, not like the probabilities that are read out"
        )
    return ""


def _circuit_settings(name: str, method: MethodConfig) -> dict[str, Any]:
    """The method's own config but for the field that the control changes."""
    # The preset would refuse the change. Written out, its fields are as fixed as they are in the method.
    given = {**(PAPER_CIRCUIT if method.config.get("preset") else {}), **method.config}
    return {key: value for key, value in given.items() if key not in ("preset", *METHODS[name].config)}


def _control_settings(name: str, method: MethodConfig, config: QAAConfig) -> dict[str, Any]:
    """What a control without a circuit has in common with the method."""
    given = [key for key in PAPER_CIRCUIT if method.config.get("preset") or key in method.config]
    settings = {key: value for key, value in method.config.items() if key in _TARGETING}
    settings |= {key: getattr(config, key) for key in given if key in _fields_of(name)}
    if "readout" in given and "width" in _fields_of(name):
        settings["width"] = _width(config.readout)
    rotations = Ansatz(config.rotation, rotation_after=config.rotation_after).rotations
    if "rotations" in _fields_of(name) and rotations > 1:
        settings["rotations"] = rotations
    return settings


def _width(readout: str | list[str]) -> int | str:
    """The width of as many features as a readout has values."""
    if isinstance(readout, str):
        return "Z" if readout == INTERFEROMETRIC else readout
    return len(readout)


def _fields_of(name: str) -> tuple[str, ...]:
    """The fields of a control's config, of those that QAA has too or that stand for them."""
    return ("scaling", "up_proj_bias", *FIELDS_OF[METHODS[name].config["features"]])


def _search_space(name: str, space: dict[str, Any] | None) -> dict[str, Any] | None:
    """What tuning varies for the method, as far as the control has it; unset where nothing is left."""
    if space is None:
        return None
    changed = METHODS[name].config
    if METHODS[name].peft_type == "QAA":
        return {key: value for key, value in space.items() if key.removeprefix(CONFIG) not in changed} or None
    known = {*_fields_of(name), *_TARGETING}
    kept = {
        key: value
        for key, value in space.items()
        if not key.startswith(CONFIG) or key.removeprefix(CONFIG) in known
    }
    readouts = space.get(READOUT)
    if isinstance(readouts, list) and all(isinstance(value, str) and value in WORDS for value in readouts):
        kept[WIDTH] = readouts
    return kept or None


_TARGETING = {entry.name for entry in dataclasses.fields(TargetingConfig)}
