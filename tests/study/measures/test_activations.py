"""Recorded activations: real tokens only, in order, whatever the batches and virtual tokens."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.study.measures.trained_models import trained

from amplitune.study.measures.activations import batched, first_tokens, record
from amplitune.study.measures.measured_modules import measured_modules


@pytest.mark.parametrize("model", ["llama", "gpt2", "bert"])
def test_padding_is_left_out(tiny: Path, model: str) -> None:
    run = trained(tiny, "base", model)
    examples = first_tokens(run.rows, 60)
    # As long as each other, they would need no padding.
    examples[0] = examples[0][:3]
    modules = measured_modules(run.model.eval())
    alone, together = (record(run.model, modules, batched(examples, n, pad=0), modules) for n in (1, 4))
    assert len(alone.outputs) == len(alone.inputs) == len(modules)
    for name in modules:
        assert alone.outputs[name].shape[0] == sum(map(len, examples))
        torch.testing.assert_close(together.outputs[name], alone.outputs[name])
        torch.testing.assert_close(together.inputs[name], alone.inputs[name])


def test_they_are_what_the_model_calls_its_hidden_states(tiny: Path) -> None:
    run = trained(tiny, "base")
    examples = first_tokens(run.rows, 40)
    modules = measured_modules(run.model.eval())
    found = record(run.model, modules, batched(examples, 2, pad=0), ["model.layers.1"])
    hidden: list[Any] = []
    with torch.no_grad():
        for ids in examples:
            hidden.append(run.model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states)
    torch.testing.assert_close(found.outputs["model.layers.0"], torch.cat([h[1][0] for h in hidden]))
    torch.testing.assert_close(found.inputs["model.layers.1"], torch.cat([h[1][0] for h in hidden]))
    assert list(found.inputs) == ["model.layers.1"]


def test_projections_share_the_input_they_share(tiny: Path) -> None:
    run = trained(tiny, "base")
    modules = measured_modules(run.model)
    inputs = record(run.model, modules, batched(first_tokens(run.rows, 40), 2, pad=0), modules).inputs
    q, v = (inputs[f"model.layers.0.self_attn.{name}_proj"] for name in "qv")
    assert q is v
    assert inputs["model.layers.1"] is not q


@pytest.mark.parametrize("method", ["prompt_tuning", "prefix"])
def test_virtual_tokens_are_left_out(tiny: Path, method: str) -> None:
    run = trained(tiny, {"method": method, "config": {"num_virtual_tokens": 5}})
    examples = first_tokens(run.rows, 40)
    modules = measured_modules(run.model.eval())
    found = record(run.model, modules, batched(examples, 2, pad=0), [])
    assert {len(values) for values in found.outputs.values()} == {sum(map(len, examples))}
    # The last token of a sequence is the one whose logits come last.
    last = found.outputs["model.layers.1"][len(examples[0]) - 1]
    base = run.model.get_base_model()
    with torch.no_grad():
        logits = run.model(input_ids=torch.tensor(examples[:1])).logits[0, -1]
        torch.testing.assert_close(base.lm_head(base.model.norm(last)), logits)


def test_hooks_are_removed_also_after_an_error(tiny: Path) -> None:
    run = trained(tiny, "base")
    modules = measured_modules(run.model)
    out_of_range = batched([[10**6]], 1, pad=0)
    with pytest.raises(IndexError):
        record(run.model, modules, out_of_range, modules)
    assert not any(module._forward_hooks for module in run.model.modules())


def test_a_module_that_is_not_called_is_left_out(tiny: Path) -> None:
    run = trained(tiny, "base")
    modules = {"head": run.model.lm_head, "other": torch.nn.Linear(2, 2)}
    assert list(record(run.model, modules, batched([[1, 2]], 1, pad=0), modules).outputs) == ["head"]


def test_examples_are_cut_only_where_one_is_too_long() -> None:
    rows = [{"input_ids": [1] * 5}, {"input_ids": [2] * 9}]
    assert [len(ids) for ids in first_tokens(rows, 6)] == [5, 6]
    assert first_tokens([], 6) == []
