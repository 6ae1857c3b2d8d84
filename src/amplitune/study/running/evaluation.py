"""Scoring a model on a task's held-out examples, keeping every prediction."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from amplitune.study.data.chat import render
from amplitune.study.data.tasks import Example, Task
from amplitune.study.metrics import Scores, corpus_scores, label_sums, text_sums
from amplitune.study.metrics.perplexity import perplexity_sums
from amplitune.study.metrics.sums import example_records
from amplitune.study.metrics.text import bleu_signature
from amplitune.study.running.generation import generate
from amplitune.study.settings.config import RunSpec


def evaluate(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    examples: Sequence[Example],
    rows: Sequence[dict[str, Any]],
    spec: RunSpec,
) -> tuple[Scores, list[dict[str, Any]], float | None]:
    """Score a model on one split of a task.

    Args:
        model: the model, trained or not.
        tokenizer: its tokenizer.
        task: the task.
        examples: the split: the test split, or the validation split to choose settings.
        rows: the same, tokenised.
        spec: the run: which metrics, how many tokens to generate, batch size.

    Returns:
        scores by name; one record of predictions.jsonl for each example, with the statistics that the scores
        follow from; tokens generated per second (None for classification).
    """
    model.eval()
    batch_size = spec.training.per_device_eval_batch_size
    names = spec.task.metric_names(task.kind)
    if task.kind == "classification":
        return (*_classify(model, tokenizer, task, examples, rows, names, batch_size), None)
    examples, turn_end = render(examples, spec.task, tokenizer)
    generated = generate(
        model,
        tokenizer,
        [example.prompt for example in examples],
        max_new_tokens=spec.task.max_new_tokens,
        batch_size=batch_size,
        turn_end=turn_end,
    )
    references = [example.references for example in examples]
    sums = text_sums(
        names,
        generated.texts,
        references,
        bertscore_model=spec.bertscore_model,
        bertscore_num_layers=spec.bertscore_num_layers,
    )
    if "perplexity" in names:
        sums |= perplexity_sums(model, list(rows), tokenizer.pad_token_id, batch_size)
    scores: Scores = {**corpus_scores(sums)}
    if "bleu" in sums:
        scores["bleu_signature"] = bleu_signature(references)
    predictions = [
        {
            "id": example.index,
            "prompt": example.prompt,
            "prediction": text,
            "references": list(example.references),
            "sums": record,
        }
        for example, text, record in zip(
            examples, generated.texts, example_records(sums, len(examples)), strict=True
        )
    ]
    return scores, predictions, generated.tokens / generated.seconds


def _classify(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    examples: Sequence[Example],
    rows: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    batch_size: int,
) -> tuple[Scores, list[dict[str, Any]]]:
    """Predict the most probable class of each text."""
    assert task.labels is not None
    tokenizer.padding_side = "right"
    device = next(model.parameters()).device
    probabilities: list[list[float]] = []
    with torch.no_grad():
        for start in range(0, len(rows), batch_size):
            inputs = [
                {key: row[key] for key in ("input_ids", "attention_mask")}
                for row in rows[start : start + batch_size]
            ]
            batch = tokenizer.pad(inputs, return_tensors="pt").to(device)
            probabilities += model(**batch).logits.float().softmax(-1).tolist()
    predicted = [row.index(max(row)) for row in probabilities]
    labels = [example.label for example in examples if example.label is not None]
    sums = label_sums(names, predicted, labels, len(task.labels))
    predictions = [
        {
            "id": example.index,
            "text": example.prompt,
            "label": task.labels[label],
            "prediction": task.labels[guess],
            "scores": [round(probability, 6) for probability in row],
            "sums": record,
        }
        for example, label, guess, row, record in zip(
            examples, labels, predicted, probabilities, example_records(sums, len(examples)), strict=True
        )
    ]
    return {**corpus_scores(sums)}, predictions
