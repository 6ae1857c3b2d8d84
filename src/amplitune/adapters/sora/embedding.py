"""The SoRA branch of one embedding."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from amplitune.adapters.sora.layer import SoRALayer
from amplitune.errors import ConfigError, NotMergeableError


class SoRAEmbedding(SoRALayer):
    """A frozen embedding with a gated low-rank branch.

        y = W0[x] + (lora_alpha / r) B (g * A[:, x]),   x (...) indices, y (..., embedding_dim)

    `sora_A` (r, num_embeddings) and `sora_B` (embedding_dim, r). A starts at zero and B standard normal, as
    LoRA's do: what training does not see stays as it is. The base layer's `padding_idx` and
    `scale_grad_by_freq` hold for A too. Its `sparse` does not: a sparse gradient of rows cannot be one of A's
    columns. Its `max_norm` is for its own rows and does not limit A. An `embed_scale` multiplies the branch
    as it does the row. `lora_dropout` has no effect: an index cannot be dropped.
    """

    wraps = (nn.Embedding,)
    lora_names = ("lora_embedding_A", "lora_embedding_B")

    @classmethod
    def features(cls, module: nn.Module, module_name: str) -> tuple[int, int]:
        """Find the number of rows and their width.

        Raises:
            ConfigError: the module's class does something else than looking up rows and scaling them.
        """
        embedding: Any = module
        if type(embedding).forward is not nn.Embedding.forward and not hasattr(embedding, "embed_scale"):
            raise ConfigError(
                f"`target_modules` must name embeddings that look up their rows, but {module_name} is a "
                f"{type(module).__name__} with a `forward` of its own (positions from a mask, a norm), which "
                "an adapter cannot follow. Take it out of `target_modules`, or train it in full with "
                "`modules_to_save`."
            )
        return embedding.num_embeddings, embedding.embedding_dim

    def start(self, a: Tensor, b: Tensor, init_weights: bool) -> None:
        """Start A at zero and B standard normal; both normal without `init_weights`."""
        nn.init.zeros_(a) if init_weights else nn.init.normal_(a)
        nn.init.normal_(b)

    def branch(self, x: Tensor, adapter_name: str) -> Tensor:
        """Compute (lora_alpha / r) B (g * A[:, x]): x (...) indices -> (..., embedding_dim)."""
        base: Any = self.get_base_layer()
        ranks = functional.embedding(
            x,
            self.sora_A[adapter_name].T,
            padding_idx=base.padding_idx,
            scale_grad_by_freq=base.scale_grad_by_freq,
        )
        gated = ranks * self.sora_gate[adapter_name]
        added = functional.linear(gated, self.sora_B[adapter_name]) * self.sora_scaling[adapter_name]
        scale = getattr(base, "embed_scale", None)
        if isinstance(scale, Tensor):
            # The base layer rounds it to its own dtype: what is merged later is scaled by that number.
            scale = scale.to(base.weight.dtype).to(added.dtype)
        return added if scale is None else added * scale

    def check_mergeable(self, adapter_name: str) -> None:
        """Raise NotMergeableError where the base layer would limit the norm of what is merged."""
        super().check_mergeable(adapter_name)
        max_norm: Any = self.get_base_layer().max_norm
        if max_norm is not None and self.has_adapter(adapter_name):
            raise NotMergeableError(
                f"An adapter of an embedding with max_norm={max_norm} cannot be merged: the embedding would "
                "scale the merged rows down to that norm when it looks them up, and keep them so. Keep the "
                "adapter beside it."
            )

    @torch.no_grad()
    def lora_tensors(self, adapter_name: str) -> dict[str, Tensor]:
        """Give the LoRA of the ranks that have a gate; see SoRALayer.

        peft limits the columns of A to the base layer's `max_norm`: A is so small that they stay, B makes
        up for it.
        """
        a, b = super().lora_tensors(adapter_name).values()
        base: Any = self.get_base_layer()
        if base.max_norm is not None:
            shrink = (a.norm(p=base.norm_type, dim=0).max() / base.max_norm).clamp(min=1) * 1.001
            a, b = a / shrink, b * shrink
        return dict(zip(self.lora_names, (a, b), strict=True))
