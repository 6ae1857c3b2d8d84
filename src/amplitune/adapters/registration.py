"""The registration of our methods with peft, and the only place that touches peft's registries."""

from typing import Any

from peft.tuners.tuners_utils import BaseTuner
from peft.utils import PeftType, register_peft_method
from peft.utils.peft_types import PeftType as _PeftTypeAtItsSource

from amplitune.adapters.control.config import ControlConfig
from amplitune.adapters.control.model import ControlModel
from amplitune.adapters.qaa.config import QAAConfig
from amplitune.adapters.qaa.model import QAAModel
from amplitune.adapters.sora.config import SoRAConfig
from amplitune.adapters.sora.model import SoRAModel
from amplitune.errors import AmplituneError

#: name in lower case -> (config class, tuner class); the prefix of the parameters is "<name>_".
METHODS: dict[str, tuple[type[Any], type[Any]]] = {
    "qaa": (QAAConfig, QAAModel),
    "sora": (SoRAConfig, SoRAModel),
    "control": (ControlConfig, ControlModel),
}


def register() -> None:
    """Make QAA, SoRA and CONTROL known to peft; a second call changes nothing.

    Raises:
        AmplituneError: the installed peft lacks what the tuners build on, its enumeration of methods cannot
            be
            extended, or it knows another method of the same name.
    """
    if not hasattr(BaseTuner, "_remap_adapter_state_dict_for_load"):
        # The hook by which a damaged adapter file becomes an error instead of a silently fresh adapter.
        raise AmplituneError("amplitune needs peft 0.21 or newer. Run: pip install -U 'peft>=0.21'.")
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    for name, (config_cls, model_cls) in METHODS.items():
        peft_type = extend_peft_type(name.upper())
        known = PEFT_TYPE_TO_CONFIG_MAPPING.get(peft_type)
        if known is config_cls:
            continue
        if known is not None:
            raise AmplituneError(
                f"peft already has a method {name.upper()!r}, {known.__module__}.{known.__qualname__}. "
                "Use an amplitune and a peft that were released together, and import amplitune once per "
                "process."
            )
        register_peft_method(name=name, config_cls=config_cls, model_cls=model_cls)


def extend_peft_type(name: str) -> PeftType:
    """Add a member to peft's closed enumeration of methods, or return the member of that name.

    `register_peft_method` refuses names outside `PeftType`, and peft has no entry point for methods from
    elsewhere. Filling peft's mappings alone does load adapters, but `get_model_status().peft_types` then
    stays empty, and a pickled config loses its type.

    Args:
        name: the member's name and value, in upper case.

    Returns:
        The member `PeftType(name)`.

    Raises:
        AmplituneError: the new member does not behave as one; the message says in what.
    """
    if name in PeftType.__members__:
        return PeftType[name]
    member: Any = str.__new__(PeftType, name)
    member._name_ = name
    member._value_ = name
    member.__objclass__ = PeftType
    member._sort_order_ = len(PeftType._member_names_)
    type.__setattr__(PeftType, name, member)
    PeftType._member_names_.append(name)
    PeftType._member_map_[name] = member
    PeftType._value2member_map_[name] = member
    # Python 3.13 looks values up in a list of its own before it looks at the map.
    hashable_values = getattr(PeftType, "_hashable_values_", None)
    if hashable_values is not None and name not in hashable_values:
        hashable_values.append(name)
    check_member(name)
    return PeftType[name]


def check_member(name: str) -> None:
    """Check that a member added from outside behaves as peft and pickle expect of a member.

    Args:
        name: the member's name, in upper case.

    Raises:
        AmplituneError: it does not; an enumeration of a newer Python or peft is built differently.
    """
    checks = {
        "lookup by name": lambda: PeftType[name].name == name,
        "lookup by value": lambda: PeftType(name) is PeftType[name],
        "lookup as attribute": lambda: getattr(PeftType, name) is PeftType[name],
        "membership": lambda: PeftType[name] in PeftType and name in list(PeftType),
        "equality with its string": lambda: PeftType[name] == name and hash(PeftType[name]) == hash(name),
        "one enumeration": lambda: PeftType is _PeftTypeAtItsSource,
    }
    for what, holds in checks.items():
        try:
            passed = holds()
        except Exception as error:
            raise AmplituneError(_broken(name, what)) from error
        if not passed:
            raise AmplituneError(_broken(name, what))


def _broken(name: str, what: str) -> str:
    return (
        f"peft's PeftType cannot be extended by {name!r} on this Python and peft ({what} fails). "
        "Please report this with the versions that `pip list` prints."
    )
