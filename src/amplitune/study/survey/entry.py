"""What a survey says of a fine-tuning method, whatever the model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from amplitune.study.survey.formula import evaluate, pretty
from amplitune.study.survey.shapes import Site, kinds

GROUPS = (
    "all weights",
    "some of the weights",
    "low rank",
    "another form of the change",
    "rotations and scales",
    "modules beside",
    "soft prompts",
    "quantum",
    "controls",
)
"""The kinds of methods, in the order of the table."""


@dataclass(frozen=True)
class Entry:
    """A method, described.

    Formulas are text in the names of the model (`d`, `layers`, `kv`, `total`, `modules`: how many are
    adapted), of an adapted module (`d_in`, `d_out`, `bias`) and of the method's own config; complexities
    leave constants out.

    Args:
        group: one of `GROUPS`.
        mechanism: what it does, in a line.
        time: additional multiplications of the forward pass for a token in an adapted linear module, in
            training, as peft computes it; a formula, or words where no linear module is adapted.
        memory: additional numbers kept for the backward pass for that token, likewise.
        stores: the same in words, with what is kept once however many tokens there are.
        mergeable: whether the trained adapter can become part of the weights (here: in this implementation).
        nonlinear: whether the change of a module's output is not an affine function of its input.
        source: the paper.
        each: formula of the trained parameters of an adapted module; summed over them.
        kind: of all modules of one name and shape, `count` of them; summed over these kinds.
        once: of the whole model.
        names: further names for the formulas, from the config and a module (None for `once`).
        remark: what else to know, such as a condition on merging.
        settings: what settings of the adapter's config change in this entry, given the adapted modules:
            field -> its value then.
    """

    group: str
    mechanism: str
    time: str
    memory: str
    stores: str
    mergeable: bool
    nonlinear: bool
    source: str
    each: str = ""
    kind: str = ""
    once: str = ""
    names: Callable[[Any, Site | None], Mapping[str, float]] | None = None
    remark: str = ""
    settings: Callable[[Any, Sequence[Site]], Mapping[str, Any]] | None = None

    def under(self, config: Any, sites: Sequence[Site]) -> "Entry":
        """Describe the method with an adapter's settings.

        Args:
            config: the adapter's config; None for methods without.
            sites: the adapted modules.

        Returns:
            The entry; this one where no setting changes it.
        """
        return self if self.settings is None else replace(self, **self.settings(config, sites))

    @property
    def formula(self) -> str:
        """The formula of all trained parameters; empty where none is given."""
        parts = [
            f"Σ_modules [{pretty(self.each)}]" if self.each else "",
            f"Σ_kinds [{pretty(self.kind)}]" if self.kind else "",
            pretty(self.once),
        ]
        return " + ".join(part for part in parts if part)

    def names_at(
        self, config: Any, sites: list[Site], model: Mapping[str, float], site: Site | None, **more: float
    ) -> dict[str, float]:
        """Every name that a formula can use, with its value, at a module or (None) of the whole model."""
        own = {} if config is None else _numbers(config)
        at = {} if site is None else site.names()
        further = {} if self.names is None else self.names(config, site)
        return {**own, **model, "modules": len(sites), **at, **further, **more}

    def parameters(self, config: Any, sites: list[Site], model: Mapping[str, float]) -> int | None:
        """Compute the formula.

        Args:
            config: the adapter's config; None for methods without.
            sites: the adapted modules.
            model: what `model_names` returned.

        Returns:
            The number of trained parameters; None where there is no formula.

        Raises:
            ValueError: the formula needs a setting that has no number.
        """
        if not self.formula:
            return None

        def names(site: Site | None, **more: float) -> dict[str, float]:
            return self.names_at(config, sites, model, site, **more)

        total = evaluate(self.once, names(None)) if self.once else 0
        if self.each:
            total += sum(evaluate(self.each, names(site)) for site in sites)
        if self.kind:
            total += sum(evaluate(self.kind, names(site, count=count)) for site, count in kinds(sites))
        return total


def _numbers(config: Any) -> dict[str, float]:
    return {key: value for key, value in vars(config).items() if isinstance(value, int | float)}
