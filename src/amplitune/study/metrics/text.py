"""BLEU and ROUGE of generated texts against one or more references each."""

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from amplitune.study.metrics.sums import Array

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL")
_ORDERS = 4


def bleu_sums(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, Array]:
    """Lengths and n-gram counts of each example, by sacrebleu.

    Args:
        predictions: one text an example.
        references: one or more texts an example; their number may differ.

    Returns:
        `bleu` (shape (examples, 10)): tokens of the prediction, tokens of the reference nearest in length,
        n-grams that match for n = 1 to 4, n-grams of the prediction for n = 1 to 4.

    Example:
        >>> bleu_sums(["the cat sat"], [["the cat", "a dog ran off"]])["bleu"].tolist()
        [[3.0, 2.0, 2.0, 1.0, 0.0, 0.0, 3.0, 2.0, 1.0, 0.0]]
    """
    from sacrebleu.metrics.bleu import BLEU

    # Of a single text sacrebleu warns without effective_order, which the counts do not depend on.
    metric = BLEU(effective_order=True)
    rows = []
    for prediction, several in zip(predictions, references, strict=True):
        score = metric.sentence_score(prediction, list(several))
        rows.append([score.sys_len, score.ref_len, *score.counts, *score.totals])
    return {"bleu": np.array(rows, dtype=float).reshape(len(rows), 2 + 2 * _ORDERS)}


def bleu_from_sums(totals: Array, examples: int) -> Array:
    """Corpus BLEU with sacrebleu's default smoothing ("exp").

    `100 BP (p_1 p_2 p_3 p_4)^(1/4)`, `p_n` = matching n-grams / n-grams of the predictions,
    `BP = min(1, exp(1 - reference tokens / predicted tokens))`. The k-th order without a match counts as
    `2^-k` matches; no match at all, or an order without n-grams, is 0.

    Args:
        totals: what `bleu_sums` gave, summed over examples (shape (..., 10)).
        examples: how many were summed.

    Returns:
        0 to 100 (shape (...)).

    Source:
        Papineni et al., "BLEU", ACL 2002; Post, "A Call for Clarity in Reporting BLEU Scores", WMT 2018.

    Example:
        >>> text = ["the cat sat on the mat"]
        >>> round(float(bleu_from_sums(bleu_sums(text, [text])["bleu"].sum(0), 1)), 9)
        100.0
    """
    predicted, reference = totals[..., 0], totals[..., 1]
    matches, ngrams = totals[..., 2 : 2 + _ORDERS], totals[..., 2 + _ORDERS :]
    unmatched = matches == 0
    smoothed = np.where(unmatched, 0.5 ** np.cumsum(unmatched, axis=-1), matches)
    possible = np.asarray((ngrams > 0).all(axis=-1) & (matches > 0).any(axis=-1))
    precisions = np.where(possible[..., None], smoothed, 1.0) / np.where(possible[..., None], ngrams, 1.0)
    brevity = np.exp(np.minimum(0.0, 1 - reference / np.where(possible, predicted, 1.0)))
    return np.where(possible, 100 * brevity * np.exp(np.log(precisions).mean(axis=-1)), 0.0)


def bleu_signature(references: Sequence[Sequence[str]]) -> str:
    """Name tokenizer, smoothing, number of references and version, as sacrebleu does.

    Args:
        references: one or more texts an example; their number may differ.

    Example:
        >>> bleu_signature([["a cat", "the cat"]])[:36]
        'nrefs:2|case:mixed|eff:no|tok:13a|sm'
    """
    from sacrebleu.metrics.bleu import BLEU

    # sacrebleu wants one stream of references for each place, None where an example has no more.
    return str(BLEU(references=[list(stream) for stream in zip_longest(*references)]).get_signature())


def rouge_sums(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, Array]:
    """ROUGE-1, ROUGE-2 and ROUGE-L of each example, F-measure, Porter-stemmed: the score is the mean.

    Of several references the one with the highest F-measure counts, for each type by itself. The package's
    tokenizer keeps a-z and digits only: texts in other scripts score 0.

    Args:
        predictions: one text an example.
        references: one or more texts an example.

    Returns:
        `rouge1`, `rouge2`, `rougeL` (each of shape (examples, 1), 0 to 1).

    Source:
        Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004.

    Example:
        >>> sums = rouge_sums(["cats running"], [["the cat ran", "running cat"]])
        >>> {name: rows.tolist() for name, rows in sums.items()}
        {'rouge1': [[1.0]], 'rouge2': [[0.0]], 'rougeL': [[0.5]]}
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(ROUGE_TYPES), use_stemmer=True)
    scores = [
        scorer.score_multi(list(several), prediction)
        for prediction, several in zip(predictions, references, strict=True)
    ]
    return {
        name: np.array([[float(score[name].fmeasure)] for score in scores]).reshape(len(scores), 1)
        for name in ROUGE_TYPES
    }
