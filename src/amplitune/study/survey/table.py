"""The survey of fine-tuning methods on a model: a row for each, by formula and by count."""

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import peft
import torch
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from transformers import PreTrainedModel

from amplitune.adapters import count_parameters
from amplitune.errors import ConfigError, near_matches
from amplitune.study.data.examples import TaskKind
from amplitune.study.methods.registry import Method, adapter_config, apply_method, refuse_settings
from amplitune.study.survey.base_model import load_shapes
from amplitune.study.survey.catalogue import ENTRIES, TooLargeError, refuse_large, rows, settings_of
from amplitune.study.survey.formula import pretty
from amplitune.study.survey.shapes import adapted_sites, model_names

NOT_DESCRIBED = "not described"
NEEDS_WEIGHTS = "starts from the weights, so it can only be counted with them"


@dataclass(frozen=True)
class Row:
    """One method on the model.

    Args:
        method: its name, as a study asks for it.
        group: the kind of method.
        mechanism: what it does, in a line.
        settings: what is set beside peft's defaults.
        formula: the trained parameters, symbolically; empty where none is given.
        parameters_by_formula: its value on this model.
        parameters: the trained parameters, counted; without the head of a classifier.
        angles: those of them that are angles of circuits.
        head_parameters: trained parameters of a classifier's head, which peft trains with every adapter.
        percent: `parameters` in percent of the model's.
        modules: how many modules are adapted.
        time: additional multiplications of the forward pass for a token in an adapted module, in training.
        memory: additional numbers kept for the backward pass, for a token in an adapted module.
        stores: the same in words.
        mergeable: whether the adapter can become part of the weights; None if not described.
        nonlinear: whether the change is nonlinear in the input; None if not described.
        source: the paper.
        remark: what else to know.
        reason: why there is no count; empty if there is one.
    """

    method: str
    group: str
    mechanism: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    formula: str = ""
    parameters_by_formula: int | None = None
    parameters: int | None = None
    angles: int | None = None
    head_parameters: int | None = None
    percent: float | None = None
    modules: int | None = None
    time: str = ""
    memory: str = ""
    stores: str = ""
    mergeable: bool | None = None
    nonlinear: bool | None = None
    source: str = ""
    remark: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Survey:
    """What each method would be on a model.

    Args:
        model: as it was named.
        architecture: transformers' class.
        task: "generation" or "classification".
        shapes: the names that formulas use of the model, with their values.
        rows: one for each method.
    """

    model: str
    architecture: str
    task: TaskKind
    shapes: Mapping[str, int]
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def survey(
    model: str, task: TaskKind | None = None, settings: Mapping[str, Mapping[str, Any]] | None = None
) -> Survey:
    """Describe and count every fine-tuning method on a model, without its weights.

    Args:
        model: a hub id, a folder, a config.json or "zoo:llama".
        task: what the model is for; unset, as its config says.
        settings: method to settings of its config.

    Returns:
        A row for each method that peft has, and for the quantum family; a method that does not fit the model
        has its reason in its row.

    Raises:
        ConfigError: the model's config cannot be read, or a setting is not one.
    """
    methods = rows()
    settings = settings or {}
    for name in settings:
        if name not in {method.name for method in methods}:
            raise ConfigError(
                f"`{name}` must be a method of the survey, but is none. "
                + near_matches(name, [method.name for method in methods])
            )
    base, kind = load_shapes(model, task)
    names = model_names(base)
    for method in methods:
        # Before anything is built: a wrong setting is the caller's mistake, and no row.
        _check_settings(method, settings.get(method.name, {}))
    made = tuple(
        survey_method(base, method, kind, names, settings.get(method.name, {})) for method in methods
    )
    shapes = {name: int(value) for name, value in names.items()}
    return Survey(model, type(base).__name__, kind, shapes, made)


def survey_method(
    base: PreTrainedModel,
    method: Method,
    kind: TaskKind,
    names: Mapping[str, float],
    settings: Mapping[str, Any],
) -> Row:
    """Describe and count one method.

    Args:
        base: the bare model; it is not changed.
        method: the method.
        kind: what the model is for.
        names: what `model_names` returned for it.
        settings: the user's settings of the adapter's config.

    Returns:
        Its row.
    """
    entry = ENTRIES.get(method.name)
    row: dict[str, Any] = {"method": method.name, "group": NOT_DESCRIBED, "mechanism": ""}
    config, sites, uncounted = None, [], False
    try:
        if method.trains == "adapter":
            settings = {**method.config, **settings_of(method, base, names, settings), **settings}
            config = adapter_config(method, kind, settings)
            sites = adapted_sites(base, config)
        row |= {"settings": dict(settings), "modules": len(sites) or None}
        refuse_large(method, sites)
        wrapped = _applied(base, method, kind, settings)
        if isinstance(wrapped, peft.PeftModel):
            config = wrapped.peft_config[wrapped.active_adapter]
            sites = adapted_sites(base, config)
        row |= {"modules": len(sites) or None, **_counted(wrapped, names["total"])}
    except Exception as error:  # peft refuses a model by many kinds of errors; none may cost the other rows
        row["reason"] = _reason(error)
        uncounted = row["reason"] == NEEDS_WEIGHTS or isinstance(error, TooLargeError)
    if entry is not None:
        if uncounted or row.get("parameters") is not None:
            entry = entry.under(config, sites)
            row["parameters_by_formula"] = entry.parameters(config, sites, names)
        kept = ("group", "mechanism", "formula", "stores", "source", "remark", "mergeable", "nonlinear")
        row |= {key: getattr(entry, key) for key in kept}
        row |= {key: pretty(getattr(entry, key)) for key in ("time", "memory")}
    return Row(**row)


def _applied(base: PreTrainedModel, method: Method, kind: TaskKind, settings: Mapping[str, Any]) -> Any:
    """Adapt a copy of the model; what adapters draw at random is left undrawn where they can do without."""
    try:
        with torch.device("meta"):
            return apply_method(copy.deepcopy(base), method, kind, settings)
    except (
        Exception
    ):  # whatever fails for the lack of numbers, or fails in any case: the next line says which
        return apply_method(copy.deepcopy(base), method, kind, settings)


def _check_settings(method: Method, settings: Mapping[str, Any]) -> None:
    """Refuse keys that the method's config does not have; whether values fit is said in the row."""
    if method.trains != "adapter":
        refuse_settings(method, settings)
        return
    config_class = PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(method.peft_type)]
    valid = [entry.name for entry in dataclasses.fields(config_class)]
    for key in settings:
        if key not in valid:
            raise ConfigError(
                f"`{method.name}.{key}` is not a setting of {config_class.__name__}. "
                + near_matches(key, valid)
            )


def _counted(model: Any, total: float) -> dict[str, Any]:
    # On the meta device peft leaves AdaLoRA's counter of ranks trainable, which it is not elsewhere.
    trained = {
        name: parameter.numel()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and ".ranknum." not in name
    }
    head = sum(count for name, count in trained.items() if "modules_to_save" in name)
    own = sum(trained.values()) - head
    return {
        "parameters": own,
        "head_parameters": head,
        "angles": count_parameters(model).angles,
        "percent": 100 * own / total,
    }


def _reason(error: Exception) -> str:
    """The cause in a line: what a wrapped error says itself."""
    if isinstance(error, NotImplementedError) and "meta" in str(error):
        return NEEDS_WEIGHTS
    text = str(error.__cause__ or error).strip() or type(error).__name__
    return text.splitlines()[0]
