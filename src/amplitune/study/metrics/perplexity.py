"""Perplexity of a model on the answers of a task."""

import math
from collections.abc import Sequence
from typing import Any


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
    import torch

    # Alike lengths share a batch, which saves padding.
    order = sorted(rows, key=lambda row: -len(row["input_ids"]))
    device = next(model.parameters()).device
    total, count = 0.0, 0
    was_training = model.training
    model.eval()
    try:
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            width = len(batch[0]["input_ids"])
            ids = torch.full((len(batch), width), pad_token_id, dtype=torch.long)
            attention, answer = torch.zeros_like(ids), torch.zeros(len(batch), width, dtype=torch.bool)
            for i, row in enumerate(batch):
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
            losses = torch.nn.functional.cross_entropy(
                logits[:, :-1][scored].float(), ids[:, 1:][scored], reduction="none"
            )
            total += float(losses.double().sum())
            count += int(scored.sum())
    finally:
        model.train(was_training)
    if count == 0:
        return {}
    try:
        return {"perplexity": math.exp(total / count)}
    except OverflowError:
        return {"perplexity": math.inf}
