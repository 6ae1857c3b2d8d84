"""Which output features of a fused projection, such as query_key_value, belong to which of its parts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from amplitune.errors import ConfigError, check_integer, near_matches


@dataclass(frozen=True)
class FusedLayout:
    """The output features of a fused projection: groups of equal make, in each the parts one after the other.

        q k v q k v ...   groups = heads: interleaved by head
        q q ... k k v v   groups = 1: one part behind the other

    Args:
        groups: how often the parts are repeated.
        widths: part -> features of it in one group, in their order.

    Example:
        >>> layout = FusedLayout(2, {"q": 3, "k": 1})
        >>> layout.d_out, layout.features("k")
        (8, [3, 7])
    """

    groups: int
    widths: Mapping[str, int]

    @property
    def d_out(self) -> int:
        """The number of output features."""
        return self.groups * sum(self.widths.values())

    def features(self, part: str) -> list[int]:
        """List the output features of a part, in ascending order."""
        period = sum(self.widths.values())
        first = 0
        for name, width in self.widths.items():
            if name == part:
                return [
                    group * period + first + offset for group in range(self.groups) for offset in range(width)
                ]
            first += width
        raise ConfigError(f"`part` must be one of {', '.join(self.widths)}, but is {part!r}.")

    def to_dict(self) -> dict[str, Any]:
        """Describe the layout in plain values, in lists because files may sort the keys of mappings."""
        return {"groups": self.groups, "parts": list(self.widths), "widths": list(self.widths.values())}

    @classmethod
    def from_dict(cls, argument: str, value: Any) -> "FusedLayout":
        """Make the layout that `to_dict` described.

        Args:
            argument: what it is given as, for messages.
            value: "parts" in their order, their "widths" in one group, and "groups", 1 if left out.

        Returns:
            The layout.

        Raises:
            ConfigError: a key is missing or unknown, or a value is not what it must be.
        """
        if not isinstance(value, Mapping) or set(value) | {"groups"} != {"groups", "parts", "widths"}:
            raise ConfigError(
                f"`{argument}` must have the keys parts, widths and, if the parts are repeated, groups, "
                f"but is {value!r}. {_EXAMPLE}"
            )
        parts, widths = value["parts"], value["widths"]
        check_parts(f"{argument}['parts']", parts)
        if not isinstance(widths, list | tuple) or len(widths) != len(parts):
            raise ConfigError(
                f"`{argument}['widths']` must be a list with the width of each of the {len(parts)} parts, "
                f"but is {widths!r}. {_EXAMPLE}"
            )
        for part, width in zip(parts, widths, strict=True):
            check_integer(f"{argument}['widths'] of {part!r}", width, 1)
        check_integer(f"{argument}['groups']", value.get("groups", 1), 1)
        return cls(value.get("groups", 1), dict(zip(parts, widths, strict=True)))


_EXAMPLE = (
    "Write, for example, {'parts': ['q', 'k', 'v'], 'widths': [64, 64, 64], 'groups': 8} for 8 heads, each "
    "with its query, key and value side by side."
)


def known_layout(model_config: Mapping[str, Any], module_name: str) -> FusedLayout | None:
    """Find the layout of a fused projection of an architecture of transformers.

    Args:
        model_config: the model's config, as a mapping.
        module_name: the module's name, or its end.

    Returns:
        The layout; None where nothing is known of the architecture or the module.

    Example:
        >>> config = {"model_type": "gpt2", "hidden_size": 8}
        >>> known_layout(config, "h.0.attn.c_attn")
        FusedLayout(groups=1, widths={'q': 8, 'k': 8, 'v': 8})
    """
    make = _KNOWN.get((str(model_config.get("model_type")), module_name.rsplit(".", 1)[-1]))
    return None if make is None else make(model_config)


def known_modules(model_config: Mapping[str, Any]) -> list[str]:
    """List the fused projections whose layout is known for an architecture."""
    return [name for model_type, name in _KNOWN if model_type == model_config.get("model_type")]


def check_parts(argument: str, parts: Any, layout: FusedLayout | None = None) -> None:
    """Refuse what is no list of different parts of a projection.

    Args:
        argument: its name.
        parts: what was given.
        layout: the layout, where it is known already.

    Raises:
        ConfigError: naming the parts that there are.
    """
    if not isinstance(parts, list | tuple) or not parts or not all(isinstance(part, str) for part in parts):
        raise ConfigError(
            f"`{argument}` must be a list of at least one part of the projection, but is {parts!r}. Write, "
            "for example, ['q', 'v']."
        )
    if len(set(parts)) != len(parts):
        raise ConfigError(f"`{argument}` must name each part once, but is {parts!r}. Leave out the repeats.")
    for part in parts if layout is not None else ():
        if layout is not None and part not in layout.widths:
            raise ConfigError(
                f"`{argument}` must name parts of the projection, but has {part!r}. "
                f"{near_matches(part, layout.widths)}"
            )


def _head_dim(config: Mapping[str, Any], heads: int) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // heads)


def _by_head(config: Mapping[str, Any]) -> FusedLayout:
    """Each head's query, key and value side by side."""
    heads = config.get("num_attention_heads") or config["n_head"]
    width = config["hidden_size"] // heads
    return FusedLayout(heads, {"q": width, "k": width, "v": width})


def _thirds(config: Mapping[str, Any]) -> FusedLayout:
    """All queries, all keys, all values."""
    width = config.get("hidden_size") or config.get("n_embd") or config["d_model"]
    return FusedLayout(1, {"q": width, "k": width, "v": width})


def _grouped_queries(config: Mapping[str, Any]) -> FusedLayout:
    """All queries, then the keys and the values of fewer heads."""
    heads = config["num_attention_heads"]
    width = _head_dim(config, heads)
    fewer = (config.get("num_key_value_heads") or heads) * width
    return FusedLayout(1, {"q": heads * width, "k": fewer, "v": fewer})


def _gate_and_up(config: Mapping[str, Any]) -> FusedLayout:
    """The gate of an MLP, then what it gates."""
    return FusedLayout(1, {"gate": config["intermediate_size"], "up": config["intermediate_size"]})


def _falcon(config: Mapping[str, Any]) -> FusedLayout:
    """By group of queries with their key and value; or one key and value for all; or by head."""
    heads = config["num_attention_heads"]
    width = config["hidden_size"] // heads
    if config.get("new_decoder_architecture"):
        groups = config.get("num_kv_heads") or heads
        return FusedLayout(groups, {"q": heads // groups * width, "k": width, "v": width})
    if config.get("multi_query"):
        return FusedLayout(1, {"q": heads * width, "k": width, "v": width})
    return _by_head(config)


def _big_code(config: Mapping[str, Any]) -> FusedLayout:
    """All queries, then one key and one value for all; without multi-query by head."""
    heads, hidden = config["n_head"], config["n_embd"]
    if config.get("multi_query"):
        return FusedLayout(1, {"q": hidden, "k": hidden // heads, "v": hidden // heads})
    return FusedLayout(heads, {"q": hidden // heads, "k": hidden // heads, "v": hidden // heads})


#: Architecture and module -> its layout; each is tested against what the model itself makes of the output.
_KNOWN: dict[tuple[str, str], Callable[[Mapping[str, Any]], FusedLayout]] = {
    ("gpt2", "c_attn"): _thirds,
    ("gpt_bigcode", "c_attn"): _big_code,
    ("gpt_neox", "query_key_value"): _by_head,
    ("bloom", "query_key_value"): _by_head,
    ("persimmon", "query_key_value"): _by_head,
    ("falcon", "query_key_value"): _falcon,
    ("mpt", "Wqkv"): _thirds,
    ("phi3", "qkv_proj"): _grouped_queries,
    ("phi3", "gate_up_proj"): _gate_and_up,
    ("glm", "gate_up_proj"): _gate_and_up,
    ("glm4", "gate_up_proj"): _gate_and_up,
}
