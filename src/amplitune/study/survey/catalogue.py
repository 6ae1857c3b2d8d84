"""The rows of a survey: every method that the installed peft has, and the quantum family."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import peft
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from transformers import PreTrainedModel

from amplitune.errors import AmplituneError
from amplitune.study.methods.registry import METHODS, Method, find_method
from amplitune.study.survey.beside import BESIDE
from amplitune.study.survey.entry import Entry
from amplitune.study.survey.low_rank import LOW_RANK
from amplitune.study.survey.other_forms import OTHER_FORMS
from amplitune.study.survey.quantum import CONTROLS, QUANTUM, VARIANTS
from amplitune.study.survey.rotations import ROTATIONS
from amplitune.study.survey.shapes import Site, adapted_sites
from amplitune.study.survey.soft_prompts import SOFT_PROMPTS
from amplitune.study.survey.weights import WEIGHTS

ENTRIES: dict[str, Entry] = {
    **WEIGHTS,
    **LOW_RANK,
    **OTHER_FORMS,
    **ROTATIONS,
    **BESIDE,
    **SOFT_PROMPTS,
    **QUANTUM,
    **CONTROLS,
}
"""What is said of each method, by the name of its row."""

TOKENS = 20
"""Virtual tokens, and tokens to train, where peft names no default; as in the study's prefix tuning."""

Settings = Mapping[str, Any]
NEEDED: dict[str, Callable[[Mapping[str, float]], Settings]] = {
    "adalora": lambda _: {"total_step": 1000},
    "adaption_prompt": lambda model: {"adapter_len": 10, "adapter_layers": int(model["layers"])},
    "cartridge": lambda _: {"num_virtual_tokens": TOKENS},
    "cpt": lambda _: {
        "cpt_token_ids": [0] * TOKENS,
        "cpt_mask": [1] * TOKENS,
        "cpt_tokens_type_mask": [1] * TOKENS,
    },
    # Its bar would be drawn over the table.
    "frod": lambda _: {"progressbar": False},
    "multitask_prompt_tuning": lambda _: {"num_virtual_tokens": TOKENS},
    "p_tuning": lambda _: {"num_virtual_tokens": TOKENS},
    "prompt_tuning": lambda _: {"num_virtual_tokens": TOKENS},
    "trainable_tokens": lambda _: {"token_indices": list(range(TOKENS))},
}
"""Settings without which peft makes no adapter, from the names of the model."""

DIVIDING = {"c3a": "block_size", "vblora": "vector_length"}
"""Settings that must divide every width, so that no default fits all models."""

LARGE: dict[str, tuple[Callable[[Site], int], str]] = {
    "boft": (lambda site: 4 * site.d_in**2, "permutation matrices")
}
"""What peft builds of numbers that are no parameters, in bytes of a module, even where the model has none."""

LIMIT = 2 * 2**30
"""Bytes that a survey lets peft build for one method."""


class TooLargeError(AmplituneError):
    """A method is not counted because peft would need more memory than a survey may take."""


def refuse_large(method: Method, sites: Sequence[Site]) -> None:
    """Refuse to count a method for which peft would fill the memory.

    Raises:
        TooLargeError: it would build more than `LIMIT` bytes.
    """
    size, what = LARGE.get(method.name, (lambda _: 0, ""))
    needed = sum(map(size, sites))
    if needed > LIMIT:
        raise TooLargeError(f"not counted: peft would build {needed / 2**30:.1f} GiB of {what}")


def rows() -> list[Method]:
    """The methods of a survey: named ones, then every other peft method, then variants of QAA."""
    named = [method for method in METHODS.values() if method.trains != "nothing"]
    covered = {method.peft_type for method in named}
    others = [
        find_method(str(kind.value).lower())
        for kind in PEFT_TYPE_TO_CONFIG_MAPPING
        if str(kind.value) not in covered
    ]
    variants = [
        replace(METHODS["qaa"], name=name, config={**METHODS["qaa"].config, **settings})
        for name, settings in VARIANTS.items()
    ]
    return [*named, *others, *variants]


def settings_of(
    method: Method, base: PreTrainedModel, model: Mapping[str, float], own: Settings
) -> dict[str, Any]:
    """What the survey sets for a method on a model beside peft's defaults and the study's.

    Args:
        method: a row.
        base: the bare model.
        model: what `shapes.model_names` returned for it.
        own: the user's settings.

    Returns:
        Settings that it needs, and a divisor of all widths where it needs one: peft's default or the largest
        below that fits.
    """
    settings = dict(NEEDED[method.name](model)) if method.name in NEEDED else {}
    key = DIVIDING.get(method.name)
    if key is not None:
        config_class = PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(method.peft_type)]
        config = config_class(**own)
        sites = adapted_sites(base, config)
        common = math.gcd(*(width for site in sites for width in (site.d_in, site.d_out)))
        default = int(getattr(config, key))
        if common and common % default:
            settings[key] = max(width for width in range(1, default) if common % width == 0)
    return settings
