"""The survey's numbers: formulas against counts, on three architectures, with and without weights."""

import json
from pathlib import Path

import pytest
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from tests.study.survey.configs import SETTINGS, save, with_weights

from amplitune.errors import ConfigError
from amplitune.study.data.examples import TaskKind
from amplitune.study.survey import Row, Survey, catalogue, survey
from amplitune.study.survey.catalogue import ENTRIES, rows
from amplitune.study.survey.entry import GROUPS
from amplitune.study.survey.shapes import model_names
from amplitune.study.survey.table import NEEDS_WEIGHTS, NOT_DESCRIBED, survey_method


@pytest.fixture(scope="module")
def surveys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Survey]:
    folders = save(tmp_path_factory.mktemp("configs"))
    return {name: survey(folder, settings=SETTINGS) for name, folder in folders.items()}


def test_every_method_of_the_installed_peft_has_a_row_and_an_entry() -> None:
    made = rows()
    kinds = {method.peft_type for method in made if method.peft_type}
    assert kinds == {str(kind.value) for kind in PEFT_TYPE_TO_CONFIG_MAPPING}
    undescribed = {method.name for method in made} - set(ENTRIES)
    assert not undescribed, f"peft has methods that the survey does not describe: {sorted(undescribed)}"
    assert {method.name for method in made} == set(ENTRIES), "an entry of a method that is no more"
    assert len(made) == len(ENTRIES) == 61
    assert {entry.group for entry in ENTRIES.values()} == set(GROUPS)


# How many methods can be counted on each architecture, and why the others cannot.
COUNTED = {"llama": 57, "gpt2": 40, "bert": 53}
REASONS = {
    "llama": {"adamss": NEEDS_WEIGHTS, "frod": NEEDS_WEIGHTS, "shira": NEEDS_WEIGHTS, "xlora": "use_cache"},
    # GPT-2's projections are no torch.nn.Linear.
    "gpt2": {
        **dict.fromkeys(
            ("adamss", "boft", "c3a", "delora", "glora", "hra", "lily", "loha", "lokr", "miss", "oft"),
            "Conv1D",
        ),
        **dict.fromkeys(("peanut", "poly", "psoft", "road", "shira", "supertuning"), "Conv1D"),
        "beft": "target_modules",
        "frod": NEEDS_WEIGHTS,
        "osf": "trains nothing",
        "xlora": "use_cache",
    },
    "bert": {
        "adamss": NEEDS_WEIGHTS,
        "frod": NEEDS_WEIGHTS,
        "shira": NEEDS_WEIGHTS,
        "xlora": "use_cache",
        "adaption_prompt": "Unsupported model type",
        "cpt": "CAUSAL_LM",
        "ln_tuning": "target_modules",
        "shadow": "decoder layers",
    },
}


@pytest.mark.parametrize("model", sorted(COUNTED))
def test_formula_and_count_agree(surveys: dict[str, Survey], model: str) -> None:
    found = surveys[model].rows
    counted = [row for row in found if row.parameters is not None]
    assert len(found) == len(ENTRIES) and len(counted) == COUNTED[model]
    without = {row.method for row in counted if row.parameters_by_formula is None}
    assert without == {"shadow"} & {row.method for row in counted}
    wrong = [
        f"{row.method}: {row.formula} = {row.parameters_by_formula}, counted {row.parameters}"
        for row in counted
        if row.method not in without and row.parameters_by_formula != row.parameters
    ]
    assert not wrong
    assert all(row.parameters and row.percent and not row.reason for row in counted)


@pytest.mark.parametrize("model", sorted(COUNTED))
def test_what_does_not_fit_has_its_reason(surveys: dict[str, Survey], model: str) -> None:
    reasons = {row.method: row.reason for row in surveys[model].rows if row.parameters is None}
    assert len(reasons) == len(ENTRIES) - COUNTED[model]
    assert set(reasons) == set(REASONS[model])
    assert all(text in reasons[method] for method, text in REASONS[model].items())


@pytest.mark.parametrize("model", ["llama", "bert"])
def test_without_weights_as_with_them(surveys: dict[str, Survey], model: str) -> None:
    """Also for the methods that start from the weights, whose formula is all that a survey has."""
    base = with_weights(model)
    kind: TaskKind = surveys[model].task
    visited = 0
    for method in rows():
        row = next(row for row in surveys[model].rows if row.method == method.name)
        if row.parameters is None and row.reason != NEEDS_WEIGHTS:
            continue
        real = survey_method(base, method, kind, model_names(base), SETTINGS.get(method.name, {}))
        assert real.parameters == (row.parameters or row.parameters_by_formula), method.name
        visited += 1
    assert visited == COUNTED[model] + 3


def row_of(made: Survey, method: str) -> Row:
    return next(row for row in made.rows if row.method == method)


def test_numbers_by_hand(surveys: dict[str, Survey]) -> None:
    """Two layers; q 64 to 64, v 64 to 32; GPT-2's c_attn 64 to 192."""
    llama, gpt2, bert = surveys["llama"], surveys["gpt2"], surveys["bert"]
    assert row_of(llama, "lora").parameters == 2 * 8 * (64 + 64 + 64 + 32)
    assert row_of(llama, "prefix").parameters == 20 * 2 * 2 * 32
    qaa = row_of(llama, "qaa")
    assert (qaa.parameters, qaa.angles) == (2 * (2 * 6 + 7 * (64 + 32)), 24)
    assert row_of(llama, "qaa-zz").parameters == 2 * (2 * 6 + (6 + 15 + 1) * (64 + 32))
    assert row_of(gpt2, "lora").parameters == 2 * 8 * (64 + 192)
    assert row_of(bert, "lora").head_parameters == 2 * 64 + 2
    assert (
        row_of(llama, "full").parameters
        == llama.shapes["total"]
        == row_of(llama, "full").parameters_by_formula
    )
    assert llama.shapes == {"d": 64, "layers": 2, "kv": 32, "total": llama.shapes["total"]}
    assert (llama.task, gpt2.task, bert.task) == ("generation", "generation", "classification")


def test_settings_change_their_row_alone(tmp_path: Path, surveys: dict[str, Survey]) -> None:
    folder = save(tmp_path)["llama"]
    made = survey(
        f"{folder}/config.json", settings={**SETTINGS, "lora": {"r": 4, "target_modules": ["o_proj"]}}
    )
    assert row_of(made, "lora").parameters == row_of(made, "lora").parameters_by_formula == 2 * 4 * 128
    changed = [
        row.method for row, before in zip(made.rows, surveys["llama"].rows, strict=True) if row != before
    ]
    assert changed == ["lora"]


def test_depths_and_readouts_by_module_are_in_the_formula(tmp_path: Path) -> None:
    patterns = {"depth_pattern": {"v_proj": 3}, "readout_pattern": {r"layers\.1\..*": "Z+ZZ"}}
    row = row_of(survey(save(tmp_path)["llama"], settings={"qaa": patterns}), "qaa")
    # q 64 to 64, v 64 to 32, six qubits: 6 or 18 angles; 6 values in the first layer, 21 in the second.
    assert row.angles == 2 * (6 + 18)
    assert row.parameters == row.parameters_by_formula == 48 + (6 + 1 + 21 + 1) * (64 + 32)


def test_a_formula_that_a_setting_leaves_is_shown_beside_the_count(tmp_path: Path) -> None:
    made = survey(save(tmp_path)["llama"], settings={"lora": {"use_dora": True}})
    row = row_of(made, "lora")
    assert row.parameters == 3584 + 2 * (64 + 32) and row.parameters_by_formula == 3584


def test_a_method_that_is_not_described_is_shown_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(catalogue.ENTRIES, "vera")
    row = row_of(survey(save(tmp_path)["llama"]), "vera")
    assert (row.group, row.mechanism, row.formula, row.mergeable) == (NOT_DESCRIBED, "", "", None)
    assert row.parameters == 2 * (2 * 256 + 96)


def test_a_method_that_would_fill_the_memory_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "LIMIT", 4 * 64**2 * 4 - 1)
    row = row_of(survey(save(tmp_path)["llama"]), "boft")
    assert row.parameters is None and "not counted: peft would build" in row.reason
    assert row.parameters_by_formula == 1216


def test_it_is_json(surveys: dict[str, Survey]) -> None:
    again = json.loads(json.dumps(surveys["llama"].to_dict()))
    assert len(again["rows"]) == len(ENTRIES) and again["rows"][0]["method"] == "bias"


def test_the_bundled_model() -> None:
    made = survey("zoo:llama")
    assert made.architecture == "LlamaForCausalLM"
    assert row_of(made, "c3a").settings == {"block_size": 160}


@pytest.mark.parametrize(
    ("model", "task", "settings", "message"),
    [
        ("./absent", None, {}, "`MODEL` must be a hub id, a folder with a config.json"),
        (
            "{llama}",
            None,
            {"lroa": {"r": 1}},
            "`lroa` must be a method of the survey.*Did you mean .*'lora'",
        ),
        ("{llama}", None, {"lora": {"rank": 1}}, "`lora.rank` is not a setting of LoraConfig"),
        ("{llama}", None, {"full": {"r": 1}}, "must be empty for method full"),
    ],
)
def test_wrong_input_is_an_error(
    tmp_path: Path, model: str, task: TaskKind | None, settings: dict[str, dict[str, int]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        survey(model.format(**save(tmp_path)), task, settings)
