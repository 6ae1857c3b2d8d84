"""Perplexity of a model on the answers of a task."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from amplitune.study.metrics.sums import Array


def perplexity(
    model: Any, rows: Sequence[dict[str, list[int]]], pad_token_id: int, batch_size: int = 16
) -> dict[str, float]:
    """Perplexity of the answer tokens, each token counting the same.

    `exp(- sum_t log p(y_t | prompt, y_<t) / number of answer tokens)`, over all examples, EOS included.

    Perplexities of models with different vocabularies cannot be compared.

    Args:
        model: a causal language model, or a peft model around one; its mode (training or evaluation) is kept.
        rows: what `tokenize_generation` returned.
        pad_token_id: any token; padded positions are masked.
        batch_size: examples a forward pass.

    Returns:
        `perplexity` (1 or more; infinite where it exceeds what a float holds); empty where there are no rows.
    """
    totals = perplexity_sums(model, rows, pad_token_id, batch_size)["perplexity"].sum(axis=0)
    return {"perplexity": float(perplexity_from_sums(totals, len(rows)))} if totals[1] else {}


def perplexity_from_sums(totals: Array, examples: int) -> Array:
    """`exp(loss / tokens)`.

    Args:
        totals: what `perplexity_sums` gave, summed over examples (shape (..., 2)).
        examples: how many were summed.

    Returns:
        The perplexity (shape (...)); NaN without a token, infinite where it exceeds what a float holds.

    Example:
        >>> round(float(perplexity_from_sums(np.array([np.log(4.0) * 3, 3.0]), 2)), 9)
        4.0
    """
    losses, tokens = totals[..., 0], totals[..., 1]
    with np.errstate(over="ignore"):
        return np.exp(np.divide(losses, tokens, out=np.full_like(losses, np.nan), where=tokens > 0))


def perplexity_sums(
    model: Any, rows: Sequence[dict[str, list[int]]], pad_token_id: int, batch_size: int = 16
) -> dict[str, Array]:
    """Loss and number of each example's answer tokens.

    Args:
        model: a causal language model, or a peft model around one; its mode (training or evaluation) is kept.
        rows: what `tokenize_generation` returned.
        pad_token_id: any token; padded positions are masked.
        batch_size: examples a forward pass.

    Returns:
        `perplexity` (shape (rows, 2), in the order of `rows`): `- sum_t log p(y_t | prompt, y_<t)` in nats,
        number of answer tokens.
    """
    import torch

    # Alike lengths share a batch, which saves padding.
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i]["input_ids"]))
    device = next(model.parameters()).device
    sums = np.zeros((len(rows), 2))
    was_training = model.training
    model.eval()
    try:
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            width = len(rows[places[0]]["input_ids"])
            ids = torch.full((len(places), width), pad_token_id, dtype=torch.long)
            attention, answer = torch.zeros_like(ids), torch.zeros(len(places), width, dtype=torch.bool)
            for i, row in enumerate(rows[place] for place in places):
                length = len(row["input_ids"])
                ids[i, :length] = torch.tensor(row["input_ids"])
                attention[i, :length] = 1
                answer[i, :length] = torch.tensor(row["completion_mask"], dtype=torch.bool)
            ids, attention, answer = ids.to(device), attention.to(device), answer.to(device)
            with torch.no_grad():
                logits = model(input_ids=ids, attention_mask=attention).logits
            # Methods that put virtual tokens into the input return logits for these too, in front.
            logits = logits[:, -width:]
            scored = answer[:, 1:]
            losses = torch.zeros(scored.shape, dtype=torch.float64)
            losses[scored.cpu()] = (
                torch.nn.functional.cross_entropy(
                    logits[:, :-1][scored].float(), ids[:, 1:][scored], reduction="none"
                )
                .double()
                .cpu()
            )
            sums[places, 0] = losses.sum(dim=1).numpy()
            sums[places, 1] = scored.sum(dim=1).cpu().numpy()
    finally:
        model.train(was_training)
    return {"perplexity": sums}
