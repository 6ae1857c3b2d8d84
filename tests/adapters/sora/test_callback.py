"""The sparsity path of one run in transformers' Trainer, and pruning and saving on the way."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tests.adapters.conftest import VOCABULARY, Architecture, MakeConfig, Wrap
from tests.adapters.sora.test_prune import keep_ranks
from tests.adapters.test_lifecycle import logits
from torch import Tensor
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from amplitune import SoRACallback, create_sora_optimizer, gate_sparsity
from amplitune.adapters.sora.callback import gate_metrics
from amplitune.adapters.sora.layer import SoRALayer
from amplitune.errors import ConfigError

STEPS = 8
SCHEDULE: dict[str, Any] = {
    "init_weights": True,
    "r": 6,
    "sparse_lambda": 1e-2,
    "lambda_schedule": "log-linear",
    "lambda_num_steps": STEPS - 1,
    "lambda_end": 0.5,
}
KEYS = ["sora/lambda", "sora/remaining_gates", "sora/sparsity"]


class Reporter(TrainerCallback):
    """Sees what a callback that reports to a dashboard sees."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self.seen.append(dict(logs))


MakeTrainer = Callable[..., Any]


@pytest.fixture
def make_trainer(tmp_path: Path) -> MakeTrainer:
    def make(model: Any, callbacks: Any = None, **arguments: Any) -> Any:
        generator = torch.Generator().manual_seed(5)
        rows = torch.randint(0, VOCABULARY, (2 * STEPS, 6), generator=generator).tolist()
        data: Any = [{"input_ids": row, "labels": row} for row in rows]
        defaults: dict[str, Any] = {
            "output_dir": str(tmp_path),
            "per_device_train_batch_size": 2,
            "max_steps": STEPS,
            "logging_steps": 1,
            "eval_strategy": "steps",
            "eval_steps": 4,
            "save_steps": STEPS // 2,
            "lr_scheduler_type": "constant",
            "use_cpu": True,
            "disable_tqdm": True,
            "report_to": [],
            "seed": 3,
        }
        optimizer = create_sora_optimizer(model, lr=1e-2)
        return Trainer(
            model,
            TrainingArguments(**defaults | arguments),
            train_dataset=data,
            eval_dataset=data[:4],
            optimizers=(optimizer, None),
            callbacks=callbacks,
        )

    return make


def test_one_run_gives_the_path(llama: Architecture, wrap: Wrap, make_trainer: MakeTrainer) -> None:
    model, callback = wrap("sora", llama, **SCHEDULE), SoRACallback()
    trainer = make_trainer(model, [callback])
    trainer.train()
    training = [row for row in callback.path if "loss" in row]
    assert [row["step"] for row in training] == list(range(1, STEPS + 1))
    ratio = (0.5 / 1e-2) ** (1 / (STEPS - 1))
    assert [row["sora/lambda"] for row in training] == pytest.approx([1e-2 * ratio**k for k in range(STEPS)])
    remaining = [row["sora/remaining_gates"] for row in training]
    assert remaining[0] > remaining[-1] == gate_sparsity(model).remaining
    assert all(row["sora/sparsity"] == 1 - row["sora/remaining_gates"] / 24 for row in callback.path)
    evaluated = [row for row in callback.path if "eval_loss" in row]
    assert [row["step"] for row in evaluated] == [4, 8]
    assert [row["sora/remaining_gates"] for row in evaluated] == [remaining[3], remaining[7]]
    # The same rows lie in the file.
    trainer.save_state()
    state = json.loads((Path(trainer.args.output_dir) / "trainer_state.json").read_text())
    assert [row for row in state["log_history"] if "sora/sparsity" in row] == callback.path


@pytest.mark.parametrize("attached", [True, False])
def test_an_attached_callback_comes_before_those_that_report(
    llama: Architecture, wrap: Wrap, make_trainer: MakeTrainer, attached: bool
) -> None:
    reporter, callback = Reporter(), SoRACallback()
    trainer = make_trainer(
        wrap("sora", llama, **SCHEDULE), [reporter] if attached else [reporter, callback], max_steps=2
    )
    if attached:
        callback.attach(trainer)
    trainer.train()
    assert len(reporter.seen) >= 3
    assert all(set(KEYS) <= set(logs) for logs in reporter.seen) is attached
    assert len(callback.path) == len(reporter.seen)


def test_the_path_goes_on_after_a_resume(llama: Architecture, wrap: Wrap, make_trainer: MakeTrainer) -> None:
    whole, callback = wrap("sora", llama, **SCHEDULE), SoRACallback()
    trainer = make_trainer(whole, [callback])
    trainer.train()
    resumed = SoRACallback()
    again = make_trainer(wrap("sora", llama, **SCHEDULE), [resumed])
    again.train(resume_from_checkpoint=f"{trainer.args.output_dir}/checkpoint-{STEPS // 2}")
    keys = ["step", *KEYS]
    # The evaluation comes before the checkpoint of its step, the summary after the last.
    assert [[row[key] for key in keys] for row in resumed.path] == [
        [row[key] for key in keys] for row in callback.path
    ]


def test_pruning_on_the_way_and_resuming(
    llama: Architecture, wrap: Wrap, make_trainer: MakeTrainer, tokens: Tensor
) -> None:
    model, callback = wrap("sora", llama, **SCHEDULE), SoRACallback(prune_steps=2)
    trainer = make_trainer(model, [callback])
    trainer.train()
    layers = [module for module in model.modules() if isinstance(module, SoRALayer)]
    assert sum(len(layer.sora_gate["default"]) for layer in layers) < 24
    # A gate that was removed still counts as one that is zero, and cannot come back.
    assert callback.path[-1]["sora/sparsity"] == 1 - gate_sparsity(model).remaining / 24
    pruned = [row["sora/remaining_gates"] for row in callback.path if row["step"] % 2 == 0 and "loss" in row]
    assert pruned == sorted(pruned, reverse=True)

    checkpoint = f"{trainer.args.output_dir}/checkpoint-{STEPS // 2}"
    opened = PeftModel.from_pretrained(llama.model(), checkpoint, is_trainable=True)
    resumed = SoRACallback(prune_steps=2)
    make_trainer(opened, [resumed]).train(resume_from_checkpoint=checkpoint)
    assert torch.equal(logits(opened, tokens), logits(model, tokens))
    assert [row["sora/sparsity"] for row in resumed.path] == [row["sora/sparsity"] for row in callback.path]


def test_saving_at_sparsities(
    llama: Architecture, wrap: Wrap, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    model, callback = wrap("sora", llama, **SCHEDULE), SoRACallback(save_sparsities=[0.5, 0.1, 0.999])
    make_trainer(model, [callback]).train()
    reached = max(row["sora/sparsity"] for row in callback.path)
    assert reached >= 0.5
    saved = sorted(path.name for path in tmp_path.glob("lora-sparsity-*"))
    assert saved == ["lora-sparsity-0.1", "lora-sparsity-0.5"]
    for name, sparsity in (("lora-sparsity-0.1", 0.1), ("lora-sparsity-0.5", 0.5)):
        loaded: Any = PeftModel.from_pretrained(llama.model(), str(tmp_path / name))
        ranks = sum(module.r["default"] for module in loaded.modules() if hasattr(module, "lora_A"))
        row = next(row for row in callback.path if row["sora/sparsity"] >= sparsity)
        assert ranks == row["sora/remaining_gates"]


def test_an_adapter_without_gates_is_not_saved(
    llama: Architecture, wrap: Wrap, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    model = wrap("sora", llama, **SCHEDULE | {"sparse_lambda": 100.0, "lambda_end": 200.0})
    trainer = make_trainer(model, [SoRACallback(save_sparsities=[0.5, 0.7])], max_steps=2)
    with pytest.warns(
        UserWarning, match=r"`save_sparsities` \[0\.5, 0\.7\]: no gate is left at step 1"
    ) as warned:
        trainer.train()
    assert sum("save_sparsities" in str(each.message) for each in warned) == 1
    assert gate_sparsity(model).remaining == 0
    assert not list(tmp_path.glob("lora-sparsity-*"))


def test_nothing_is_saved_where_nothing_is_logged(
    llama: Architecture, wrap: Wrap, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    model = wrap("sora", llama, **SCHEDULE)
    trainer = make_trainer(
        model, [SoRACallback(save_sparsities=[0.1])], logging_strategy="no", eval_strategy="no"
    )
    with pytest.raises(ConfigError, match="`save_sparsities` must be left unset with logging_strategy: 'no'"):
        trainer.train()
    assert trainer.state.global_step == 0
    # An evaluation is a log.
    make_trainer(model, [SoRACallback(save_sparsities=[0.1])], logging_strategy="no").train()
    assert list(tmp_path.glob("lora-sparsity-*"))


def test_what_cannot_become_a_lora_is_refused_before_the_first_step(
    llama: Architecture, make_config: MakeConfig, make_trainer: MakeTrainer
) -> None:
    model = llama.model()
    model.add_adapter(make_config("sora", llama))
    trainer = make_trainer(model, [SoRACallback(save_sparsities=[0.5])])
    with pytest.raises(ConfigError, match=r"must be a PeftModel .*the model's own `add_adapter`"):
        trainer.train()
    assert trainer.state.global_step == 0
    make_trainer(model, [SoRACallback()], save_strategy="no").train()


def test_metrics_in_a_loop_of_ones_own(llama: Architecture, wrap: Wrap) -> None:
    model = wrap(
        "sora", llama, r=4, sparse_lambda=0.1, lambda_schedule="linear", lambda_num_steps=4, lambda_end=0.5
    )
    keep_ranks(model, [4, 0, 2, 2])
    assert gate_metrics(model) == {"sora/remaining_gates": 8, "sora/sparsity": 0.5}
    optimizer = create_sora_optimizer(model, torch.optim.SGD, lr=1e-3)
    found = [gate_metrics(model, optimizer)["sora/lambda"]]
    for _ in range(3):
        optimizer.step()
        found.append(gate_metrics(model, optimizer)["sora/lambda"])
    assert found == pytest.approx([0.1, 0.1, 0.2, 0.3])
    plain = torch.optim.SGD(model.parameters(), lr=0.1)
    assert list(gate_metrics(model, plain)) == KEYS[1:]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"load_best_model_at_end": True},
            "`prune_steps` must be left unset with load_best_model_at_end: True",
        ),
        (
            {"deepspeed": "ds.json"},
            "`prune_steps` must be left unset with several processes, DeepSpeed or FSDP",
        ),
    ],
)
def test_where_pruning_on_the_way_cannot_be(
    llama: Architecture, wrap: Wrap, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    model, callback = wrap("sora", llama), SoRACallback(prune_steps=3)
    given = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    callback.on_train_begin(given, TrainerState(), TrainerControl(), model=model)
    for name, value in arguments.items():
        object.__setattr__(given, name, value)
    with pytest.raises(ConfigError, match=message):
        callback.on_train_begin(given, TrainerState(), TrainerControl(), model=model)
    SoRACallback().on_train_begin(given, TrainerState(), TrainerControl(), model=model)


def test_a_model_without_the_adapter_is_an_error_before_the_first_step(
    llama: Architecture, wrap: Wrap, make_trainer: MakeTrainer
) -> None:
    trainer = make_trainer(wrap("sora", llama), [SoRACallback("second")])
    with pytest.raises(ConfigError, match="has none named 'second'"):
        trainer.train()
    assert trainer.state.global_step == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prune_steps": 0}, "`prune_steps` must be a positive integer, but is 0"),
        ({"prune_steps": 2.5}, "`prune_steps` must be a positive integer, but is 2.5"),
        ({"save_sparsities": [0.5, 1.0]}, "`save_sparsities` must be shares from 0 to below 1, but has 1.0"),
        ({"save_sparsities": [-0.1]}, "but has -0.1"),
        ({"save_sparsities": [float("nan")]}, "but has nan"),
        ({"save_sparsities": ["0.5"]}, "but has '0.5'"),
        ({"save_sparsities": [None]}, "but has None"),
        ({"save_sparsities": "0.5"}, "`save_sparsities` must be a list of shares, but is '0.5'"),
        ({"save_sparsities": 0.5}, "`save_sparsities` must be a list of shares, but is 0.5"),
        ({"save_sparsities": None}, "`save_sparsities` must be a list of shares, but is None"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SoRACallback(**arguments)
