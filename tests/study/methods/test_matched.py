"""Matched variants: their counts by formula, the nearest of all sizes by brute force, and who has none."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.study.tiny_models import HIDDEN, LAYERS, study_values, task_values

from amplitune.errors import ConfigError
from amplitune.study.data.tasks import load_task
from amplitune.study.methods.controls import with_controls
from amplitune.study.methods.matched import matched_methods
from amplitune.study.methods.registry import find_method
from amplitune.study.methods.sizes import Ladder, nearest_rung, size_ladder
from amplitune.study.settings.config import StudyConfig
from amplitune.study.settings.method_config import MethodConfig

QUBITS = math.ceil(math.log2(HIDDEN))
# Output widths of q_proj and v_proj of the tiny Llama, summed over its layers.
OUT = LAYERS * (HIDDEN + HIDDEN // 2)
MODULES = 2 * LAYERS


def matched(tiny: Path, budget: int | str, model: str = "llama", **changes: Any) -> Any:
    study = StudyConfig.parse(study_values(tiny, model, matched_parameters=budget, **changes))
    said: list[str] = []
    methods = matched_methods(study, {task.name: load_task(task) for task in study.tasks}, said.append)
    return study, {method.name: method for method in methods}, said


def lora(r: int) -> int:
    return r * (MODULES * HIDDEN + OUT)


def qaa(circuits: int, words: int) -> int:
    return circuits * QUBITS * MODULES + (circuits * words + 1) * OUT


def prefix(tokens: int) -> int:
    return tokens * LAYERS * 2 * (HIDDEN // 2)


@pytest.mark.parametrize("budget", [150, 700, 1000, 2000, 5000, 20000])
def test_each_variant_is_the_nearest_of_all_its_sizes(tiny: Path, budget: int) -> None:
    _, methods, said = matched(tiny, budget, methods=["base", "full", "bias", "lora", "prefix", "qaa"])
    assert list(methods) == ["base", "full", "bias", "lora", "prefix", "qaa"] + [
        f"{name}-matched" for name in ("lora", "prefix", "qaa")
    ]
    assert all(methods[f"{name}-matched"].matched_to == budget for name in ("lora", "prefix", "qaa"))

    r = methods["lora-matched"].config["r"]
    assert abs(lora(r) - budget) == min(abs(lora(other) - budget) for other in range(1, 300))

    tokens = methods["prefix-matched"].config["num_virtual_tokens"]
    # Half of the 64 positions are left to the examples.
    assert abs(prefix(tokens) - budget) == min(abs(prefix(other) - budget) for other in range(1, 33))

    config = methods["qaa-matched"].config
    readout = config.get("readout", "Z")
    found = qaa(config["circuits"], QUBITS if readout == "Z" else len(readout))
    best = min(abs(qaa(circuits, QUBITS) - budget) for circuits in range(1, 300))
    if best <= 0.1 * budget:
        assert (abs(found - budget), readout) == (best, "Z")
    else:
        below = max([c for c in range(1, 300) if qaa(c, QUBITS) <= budget], default=1)
        words = QUBITS + math.comb(QUBITS, 2)
        assert abs(found - budget) == min(abs(qaa(below, m) - budget) for m in range(1, words + 1))

    counts = {"lora": lora(r), "prefix": prefix(tokens), "qaa": found}
    assert len(said) == 3
    for line, (name, count) in zip(said, counts.items(), strict=True):
        assert line.startswith(f"{name}-matched: {count:,} trainable parameters for {budget:,} (")
        assert line.endswith("none of its sizes is nearer.") == (abs(count - budget) > 0.1 * budget)


def test_a_method_can_be_the_budget_and_is_then_its_own_variant(tiny: Path) -> None:
    _, methods, _ = matched(tiny, "lora", methods=[{"method": "lora", "config": {"r": 4}}, "sora", "qaa"])
    assert methods["lora-matched"].config == {"r": 4}
    assert methods["lora-matched"].matched_to == lora(4)
    # A gate beside each rank.
    assert methods["sora-matched"].config == {"r": 4}


def test_a_classifiers_head_is_not_counted(tiny: Path) -> None:
    _, methods, said = matched(tiny, 4 * 2 * LAYERS * 2 * HIDDEN, "bert", methods=["lora", "prefix"])
    assert methods["lora-matched"].config == {"r": 4}
    assert "(+0.0%)" in said[0]
    assert methods["prefix-matched"].config == {"num_virtual_tokens": 8}


def test_a_resolved_study_keeps_its_variants(tiny: Path) -> None:
    study, methods, _ = matched(tiny, 1000, methods=["lora", "qaa"], tuning={"trials": 2})
    resolved = study.model_copy(update={"methods": list(methods.values())})
    again = StudyConfig.parse(resolved.model_dump(mode="json"))
    assert again == resolved
    tasks = {task.name: load_task(task) for task in again.tasks}
    said: list[str] = []
    assert matched_methods(again, tasks, said.append) == list(methods.values())
    assert said == []
    with pytest.raises(ConfigError, match=r"`matched_to` of method lora-matched must be 2000.*but is 1000"):
        matched_methods(again.model_copy(update={"matched_parameters": 2000}), tasks, said.append)


def test_a_study_that_matches_nothing_is_left_as_it_is(tiny: Path) -> None:
    study = StudyConfig.parse(study_values(tiny, methods=["lora", "qaa"]))
    assert matched_methods(study, {}, pytest.fail) == study.methods


def test_what_has_no_size_is_left_out_with_the_reason(tiny: Path) -> None:
    methods = ["ia3", {"method": "qaa", "config": {"preset": "paper"}}, "lora"]
    _, found, said = matched(tiny, 1000, methods=methods)
    assert list(found) == ["ia3", "qaa", "lora", "lora-matched"]
    assert said[0] == "ia3 is not in the matched view: it has no setting for its size."
    assert said[1] == "qaa is not in the matched view: its preset fixes its size."


def test_controls_have_no_variants(tiny: Path) -> None:
    controls = [method.model_dump() for method in with_controls([MethodConfig(method="qaa")])]
    _, found, _ = matched(tiny, 1000, methods=controls)
    assert len(controls) == 6
    assert list(found)[6:] == ["qaa-matched"]


def test_a_variant_keeps_the_other_settings_and_tunes_its_rate_alone(tiny: Path) -> None:
    method = {
        "method": "lora",
        "name": "wide",
        "config": {"lora_alpha": 4},
        "training": {"weight_decay": 0.1},
        "search_space": {"config.r": [4, 8], "learning_rate": [1e-3, 1e-2]},
    }
    _, found, _ = matched(tiny, 1000, methods=[method], tuning={"trials": 2})
    variant = found["wide-matched"]
    assert variant.config == {"lora_alpha": 4, "r": round(1000 / lora(1))}
    assert variant.training == {"weight_decay": 0.1}
    assert variant.search_space == {"learning_rate": [1e-3, 1e-2]}
    assert (variant.method, variant.matched_to) == ("lora", 1000)


def test_a_name_that_is_taken_and_an_unknown_method_are_refused(tiny: Path) -> None:
    taken = {"method": "full", "name": "lora-matched"}
    with pytest.raises(ConfigError, match="the name 'lora-matched' must be free for a variant"):
        matched(tiny, 1000, methods=["lora", taken])
    with pytest.raises(ConfigError, match=r"but is 'lroa'. Did you mean 'lora'"):
        matched(tiny, "lroa", methods=["lora"])
    with pytest.raises(ConfigError, match="but base has none"):
        matched(tiny, "base", methods=["lora", "base"])


def test_tasks_with_models_of_their_own_are_said_to_differ(tiny: Path) -> None:
    tasks = [
        task_values(tiny),
        task_values(tiny, name="other", model_name_or_path=str(tiny / "gpt2")),
    ]
    _, found, said = matched(tiny, lora(2), methods=["lora"], tasks=tasks)
    assert said[0].startswith("Sizes are matched on the model of task pairs")
    assert found["lora-matched"].config == {"r": 2}


def test_a_qaa_of_another_readout_grows_by_whole_circuits(tiny: Path) -> None:
    method = {"method": "qaa", "config": {"readout": "probabilities"}}
    _, found, _ = matched(tiny, 5000, methods=[method])
    assert found["qaa-matched"].config == {"readout": "probabilities", "circuits": 2}


@pytest.mark.parametrize("slope", [1, 7, 100])
def test_the_nearest_rung_is_found_with_few_counts(slope: int) -> None:
    asked = []

    def linear(settings: Mapping[str, Any]) -> int:
        asked.append(settings["r"])
        return 50 + slope * int(settings["r"])

    ladder = Ladder(lambda rung: {"r": rung}, 200)
    for budget in range(1, 50 + 220 * slope, max(1, slope // 3)):
        asked.clear()
        found = nearest_rung(ladder, budget, linear)
        nearest = min(range(1, 201), key=lambda rung: abs(50 + slope * rung - budget))
        assert found == nearest
        assert len(asked) <= 5


def test_the_nearest_rung_of_an_uneven_ladder() -> None:
    counts = sorted({int(1.3**k) + k for k in range(40)})

    def uneven(settings: Mapping[str, Any]) -> int:
        return counts[settings["r"] - 1]

    ladder = Ladder(lambda rung: {"r": rung}, len(counts))
    for budget in range(1, counts[-1] + 100, 97):
        found = nearest_rung(ladder, budget, uneven)
        assert abs(counts[found - 1] - budget) == min(abs(count - budget) for count in counts)


def test_methods_without_a_ladder() -> None:
    assert [size_ladder(find_method(name), {}, None) for name in ("base", "full", "bias", "ia3")] == [
        None
    ] * 4
