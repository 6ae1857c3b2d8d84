"""BERTScore of generated texts against one or more references each."""

from collections.abc import Sequence

import numpy as np

from amplitune.errors import ConfigError, MissingExtraError
from amplitune.study.metrics.sums import Array


def bertscore_sums(
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    bertscore_model: str | None = None,
    bertscore_num_layers: int | None = None,
) -> dict[str, Array]:
    """BERTScore F1 of each example with a given encoder, without baseline rescaling: the score is the mean.

    Of several references the best F1 counts. Scores of different encoders or layers cannot be compared. An
    empty prediction scores 0.

    Args:
        predictions: one text an example.
        references: one or more texts an example.
        bertscore_model: hub id or folder of the encoder.
        bertscore_num_layers: the layer whose output is compared; unset, bert-score's choice for known ids.

    Returns:
        `bertscore_f1` (shape (examples, 1), -1 to 1, most texts above 0).

    Raises:
        MissingExtraError: bert-score is not installed.
        ConfigError: no encoder is given.

    Source:
        Zhang et al., "BERTScore: Evaluating Text Generation with BERT", ICLR 2020.
    """
    if not bertscore_model:
        raise ConfigError(
            "`bertscore_model` must be the encoder of BERTScore, but is not set.\n"
            "Set bertscore_model (a hub id or folder) and bertscore_num_layers, or take bertscore_f1 out of "
            "metrics."
        )
    try:
        import bert_score
    except ImportError as error:
        raise MissingExtraError(
            "The metric bertscore_f1 needs the package bert-score, which is not installed.\n"
            "Install it: pip install 'amplitune[bertscore]'"
        ) from error
    if bertscore_num_layers is None and bertscore_model not in bert_score.utils.model2layers:
        raise ConfigError(
            "`bertscore_num_layers` must be set for an encoder that bert-score does not know, but is unset "
            f"for {bertscore_model!r}.\n"
            "Set it to the encoder's number of layers or less."
        )
    # bert-score cannot encode an empty text with transformers 5.
    several = [[text for text in texts if text.strip()] for texts in references]
    spoken = [i for i, prediction in enumerate(predictions) if prediction.strip() and several[i]]
    sums = np.zeros((len(predictions), 1))
    if not spoken:
        return {"bertscore_f1": sums}
    try:
        _, _, scores = bert_score.score(
            [predictions[i] for i in spoken],
            [several[i] for i in spoken],
            model_type=bertscore_model,
            num_layers=bertscore_num_layers,
            rescale_with_baseline=False,
            verbose=False,
        )
    except (OSError, AssertionError) as error:
        raise ConfigError(
            "`bertscore_model` must be an encoder with `bertscore_num_layers` layers or more, but "
            f"{bertscore_model!r} with {bertscore_num_layers} cannot be used: {error}\n"
            "Correct them, or take bertscore_f1 out of metrics."
        ) from error
    sums[spoken, 0] = scores.double().numpy()
    return {"bertscore_f1": sums}
