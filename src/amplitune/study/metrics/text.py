"""BLEU and ROUGE of generated texts against one or more references each."""

from collections.abc import Sequence
from itertools import zip_longest

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL")


def bleu(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float | str]:
    """Corpus BLEU by sacrebleu, with its signature.

    Args:
        predictions: one text an example.
        references: one or more texts an example; their number may differ.

    Returns:
        `bleu` (0 to 100) and `bleu_signature`, naming tokenizer, smoothing, references and version.

    Source:
        Post, "A Call for Clarity in Reporting BLEU Scores", WMT 2018.

    Example:
        >>> bleu(["the cat sat on the mat"], [["the cat sat on the mat", "a cat sat"]])["bleu"]
        100.0
    """
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU()
    # sacrebleu wants one stream of references for each place, None where an example has no more.
    streams = [list(stream) for stream in zip_longest(*references)]
    score = metric.corpus_score(list(predictions), streams).score
    return {"bleu": round(float(score), 10), "bleu_signature": str(metric.get_signature())}


def rouge(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """ROUGE-1, ROUGE-2 and ROUGE-L, F-measure, Porter-stemmed.

    Of several references the one with the highest F-measure counts, for each type by itself; the score is the
    mean over examples. The package's tokenizer keeps a-z and digits only: texts in other scripts score 0.

    Args:
        predictions: one text an example.
        references: one or more texts an example.

    Returns:
        `rouge1`, `rouge2`, `rougeL` (0 to 1).

    Source:
        Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004.

    Example:
        >>> rouge(["cats running"], [["the cat ran", "running cat"]])
        {'rouge1': 1.0, 'rouge2': 0.0, 'rougeL': 0.5}
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(ROUGE_TYPES), use_stemmer=True)
    totals = dict.fromkeys(ROUGE_TYPES, 0.0)
    for prediction, several in zip(predictions, references, strict=True):
        scores = scorer.score_multi(list(several), prediction)
        for name in ROUGE_TYPES:
            totals[name] += float(scores[name].fmeasure)
    return {name: total / len(predictions) for name, total in totals.items()}
