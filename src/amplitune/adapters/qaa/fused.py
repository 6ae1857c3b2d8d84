"""QAA on single parts of a fused projection: a circuit and a readout of its own for each part."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from amplitune.adapters.fused import FusedLayout, check_parts, known_layout, known_modules
from amplitune.adapters.patterns import check_pattern, pattern_value
from amplitune.errors import ConfigError


@dataclass(frozen=True)
class FusedParts:
    """The parts of one fused projection that have a circuit, all of them on the same input.

        y_p = W0_p x + s (W_p z_p + b_p),   z_p = expectation(x, angles_p)   for each part p
        y_r = W0_r x                                                         for all other features r

    The circuits of the first part come first in the angles, then those of the second. W holds the features of
    the first part first, each part's with the values of its own circuits alone: (features of the parts,
    circuits * m).

    Args:
        layout: of the projection.
        parts: names of parts of it.
    """

    layout: FusedLayout
    parts: tuple[str, ...]

    @property
    def rows(self) -> int:
        """The number of output features that have a readout."""
        return self.layout.groups * sum(self.layout.widths[part] for part in self.parts)

    def spread(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Write the up-projection out: zeros for other features and for the values of other parts' circuits.

        Args:
            weight: W, shape (rows, circuits * m).
            bias: b, shape (rows,), or None.

        Returns:
            Shapes (d_out, parts * circuits * m) and (d_out,), or None; differentiable.
        """
        groups, columns = self.layout.groups, weight.shape[1]
        sizes = [groups * self.layout.widths[part] for part in self.parts]
        own = dict(zip(self.parts, weight.split(sizes), strict=True))
        own_bias = {} if bias is None else dict(zip(self.parts, bias.split(sizes), strict=True))
        blocks, biases = [], []
        for part, width in self.layout.widths.items():
            if part in own:
                before = self.parts.index(part) * columns
                after = (len(self.parts) - 1) * columns - before
                blocks.append(
                    torch.nn.functional.pad(own[part].reshape(groups, width, columns), (before, after))
                )
            else:
                blocks.append(weight.new_zeros(groups, width, len(self.parts) * columns))
            if bias is not None:
                biases.append(
                    own_bias[part].reshape(groups, width) if part in own else bias.new_zeros(groups, width)
                )
        spread = torch.cat(blocks, dim=1).flatten(0, 1)
        return spread, torch.cat(biases, dim=1).flatten() if biases else None

    def added(self, base: Tensor, weight: Tensor, bias: Tensor | None, add: Callable[..., Tensor]) -> Tensor:
        """Add to each part what it has; the up-projection is not written out, for which it would be kept.

        Args:
            base: shape (..., d_out).
            weight: W, shape (rows, circuits * m).
            bias: b, shape (rows,), or None.
            add: takes a part's place among the parts, its features of `base`, its W and its b, and gives the
                features with what is added.

        Returns:
            Of the shape and dtype of `base`.
        """
        groups, widths = self.layout.groups, self.layout.widths
        blocks = base.unflatten(-1, (groups, -1)).split(list(widths.values()), dim=-1)
        of_part = dict(zip(widths, blocks, strict=True))
        sizes = [groups * widths[part] for part in self.parts]
        weights = weight.split(sizes)
        biases = [None] * len(sizes) if bias is None else bias.split(sizes)
        for place, (part, own, own_bias) in enumerate(zip(self.parts, weights, biases, strict=True)):
            changed = add(place, of_part[part].flatten(-2), own, own_bias)
            of_part[part] = changed.unflatten(-1, (groups, widths[part]))
        return torch.cat(list(of_part.values()), dim=-1).flatten(-2)


def check_fused(fused_parts: Any, fused_layouts: Any) -> None:
    """Refuse values of the two fields of a config that no module could have.

    Args:
        fused_parts: module -> list of its parts.
        fused_layouts: module -> layout, as `FusedLayout.to_dict` describes it.

    Raises:
        ConfigError: naming the field and the key.
    """
    check_pattern("fused_parts", fused_parts, lambda parts: check_parts("parts", parts))
    check_pattern("fused_layouts", fused_layouts, lambda value: FusedLayout.from_dict("layout", value))
    for key in fused_layouts:
        if key not in fused_parts:
            raise ConfigError(
                f"`fused_layouts` must have keys of `fused_parts`, but has {key!r}. A layout alone has no "
                f"effect: remove it, or give the key in `fused_parts`, which has {list(fused_parts)}."
            )


def with_layouts(
    fused_parts: Mapping[str, Sequence[str]],
    fused_layouts: Mapping[str, Mapping[str, Any]],
    model_config: Mapping[str, Any],
    module_names: Iterable[str],
) -> dict[str, dict[str, Any]]:
    """Add the layouts that are known of the model's architecture.

    Args:
        fused_parts: module -> its parts.
        fused_layouts: layouts that the user gave.
        model_config: the model's config, as a mapping.
        module_names: names of the model's modules, among which a key that is a regular expression has its.

    Returns:
        A layout for each key of `fused_parts`.

    Raises:
        ConfigError: none is given and none is known, or it has no such part.
    """
    layouts, module_names = {}, list(module_names)
    for key, parts in fused_parts.items():
        if key in fused_layouts:
            layout = FusedLayout.from_dict(f"fused_layouts[{key!r}]", fused_layouts[key])
        else:
            # Models of text and images keep what the language model is in a config of its own.
            configs = (model_config, model_config.get("text_config") or {})
            named = [key, *(name for name in module_names if pattern_value({key: True}, name, False))]
            known = list(filter(None, (known_layout(config, name) for config in configs for name in named)))
            if not known:
                names = [name for config in configs for name in known_modules(config)]
                of_model = f" Known there: {', '.join(names)}." if names else ""
                raise ConfigError(
                    f"`fused_parts` must name modules whose layout is known, but nothing is known of "
                    f"{key!r} in the architecture {model_config.get('model_type')!r}.{of_model} Say how its "
                    f"output features are divided with fused_layouts: {{{key!r}: {{'parts': ['q', 'k', 'v'], "
                    "'widths': [...]}}, in the order in which they follow each other."
                )
            layout = next((one for one in known if set(parts) <= set(one.widths)), known[0])
        check_parts(f"fused_parts[{key!r}]", list(parts), layout)
        layouts[key] = layout.to_dict()
    return layouts


def parts_of(
    fused_parts: Mapping[str, Sequence[str]],
    fused_layouts: Mapping[str, Mapping[str, Any]],
    module_name: str,
) -> FusedParts | None:
    """Find the parts of a module that have a circuit.

    Args:
        fused_parts: module -> its parts.
        fused_layouts: module -> layout, complete.
        module_name: the module's name in the model.

    Returns:
        The parts; None for a module that has one circuit for all of its output.
    """
    parts = pattern_value(fused_parts, module_name, None)
    if parts is None:
        return None
    layout = FusedLayout.from_dict("fused_layouts", pattern_value(fused_layouts, module_name, None))
    return FusedParts(layout, tuple(parts))


def check_width(parts: FusedParts, d_out: int, module_name: str) -> None:
    """Refuse a layout that is not that of the module.

    Args:
        parts: the parts with the layout.
        d_out: the module's output width.
        module_name: its name.

    Raises:
        ConfigError: with both widths.
    """
    if parts.layout.d_out != d_out:
        raise ConfigError(
            f"`fused_layouts` must divide all {d_out} output features of {module_name}, but "
            f"{parts.layout.to_dict()} has {parts.layout.d_out}: groups times the sum of the widths. Give "
            "the widths of all parts, also of those without a circuit."
        )
