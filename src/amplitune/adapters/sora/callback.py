"""The path of a SoRA adapter's sparsity through training: logged, saved on the way, pruned on the way."""

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from accelerate.utils import extract_model_from_parallel
from torch import nn
from torch.optim import Optimizer
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from amplitune.adapters.sora.gates import gate_sparsity, sora_layers
from amplitune.adapters.sora.proximal import OncePerStep, scheduled_lambda
from amplitune.adapters.sora.prune import as_lora, save_as_lora
from amplitune.adapters.sora.prune_gates import prune_gates
from amplitune.errors import ConfigError

LAMBDA = "sora/lambda"
REMAINING = "sora/remaining_gates"
SPARSITY = "sora/sparsity"


def gate_metrics(
    model: nn.Module, optimizer: Optimizer | None = None, adapter_name: str = "default"
) -> dict[str, float]:
    """Measure where a SoRA adapter is on its way from dense to sparse, for a log.

    Args:
        model: a PeftModel with SoRA adapters.
        optimizer: what `create_sora_optimizer` made, for lambda; its state knows the schedule's position.
        adapter_name: the adapter.

    Returns:
        "sora/lambda": lambda of the last step, of the first if there was none; missing without an optimizer
        of the adapter. "sora/remaining_gates": gates that are not zero. "sora/sparsity": the share of zero
        gates, removed ones included.

    Raises:
        ConfigError: the model has no SoRA adapter of that name.

    Example:
        >>> import peft
        >>> from amplitune import SoRAConfig, create_sora_optimizer
        >>> model = peft.get_peft_model(nn.Sequential(nn.Linear(4, 4)), SoRAConfig(target_modules=["0"]))
        >>> gate_metrics(model, create_sora_optimizer(model, lr=1e-3))
        {'sora/lambda': 0.0003, 'sora/remaining_gates': 8, 'sora/sparsity': 0.0}
    """
    metrics: dict[str, float] = {}
    for group in optimizer.param_groups if optimizer is not None else ():
        if group.get("sora_adapter") == adapter_name:
            metrics[LAMBDA] = scheduled_lambda(
                max(group["sora_step"] - 1, 0),
                group["sparse_lambda"],
                group["lambda_schedule"],
                group["lambda_num_steps"],
                group["lambda_end"],
            )
    sparsity = gate_sparsity(model, adapter_name)
    return metrics | {REMAINING: sparsity.remaining, SPARSITY: sparsity.sparsity}


class SoRACallback(TrainerCallback):
    """Logs a SoRA adapter's lambda, remaining gates and sparsity with all that transformers' Trainer logs.

    With a schedule of lambdas one run gives the whole path: `path` has a row for each log, of losses as well
    as of evaluations, so that a metric lies beside the sparsity at which it was reached. The rows are those
    of the trainer's `state.log_history`; they are saved in trainer_state.json and survive a resume.

    Args:
        adapter_name: the adapter.
        prune_steps: optimizer steps between two calls of `prune_gates`; unset, gates are never removed.
        save_sparsities: shares of zero gates, from 0 to 1, at which the adapter is saved as a plain LoRA: at
            the first log that has reached one, by `save_as_lora` into "lora-sparsity-<share>" in the
            trainer's `output_dir`. A log without gates left is a warning, as LoRA has no rank 0.
        check_optimizer: whether training is refused where the optimizer would not shrink the adapter's gates:
            the trainer was given none of `create_sora_optimizer`, or has dropped it. False: they are to stay
            dense, or something else shrinks them, such as a threshold in a callback of your own. Frozen gates
            need no such optimizer and are not asked about.

    Raises:
        ConfigError: an argument has a value it cannot have; before the first step, also one that the trainer
            or the model cannot follow.

    Source:
        Ding et al., EMNLP 2023, arXiv 2311.11696, algorithm 1, where a rising lambda shows how sparse an
        adapter may be that still memorizes and generalizes.
    """

    def __init__(
        self,
        adapter_name: str = "default",
        *,
        prune_steps: int | None = None,
        save_sparsities: Iterable[float] = (),
        check_optimizer: bool = True,
    ) -> None:
        """Check the arguments."""
        self.adapter_name = adapter_name
        self.check_optimizer = check_optimizer
        self.prune_steps = prune_steps
        self.save_sparsities = _shares(save_sparsities)
        self.path: list[dict[str, Any]] = []
        if prune_steps is not None and not (type(prune_steps) is int and prune_steps >= 1):
            raise ConfigError(
                f"`prune_steps` must be a positive integer, but is {prune_steps!r}. Give the number of "
                "optimizer steps between two prunings, or leave it unset to keep zero gates."
            )

    def attach(self, trainer: Any) -> None:
        """Add this callback to a trainer in front of those that report to TensorBoard and the like.

        Given as `callbacks=[...]`, it comes after them: `path`, the log history and the printed logs have its
        numbers then, the reports do not.
        """
        trainer.callback_handler.callbacks.insert(0, self)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check that the run can be followed, and take up the path of a resumed one."""
        model = extract_model_from_parallel(kwargs["model"], keep_torch_compile=False)
        gates = [layer.sora_gate[self.adapter_name] for _, layer in sora_layers(model, self.adapter_name)]
        optimizer = kwargs.get("optimizer")
        if self.check_optimizer and optimizer is not None and any(gate.requires_grad for gate in gates):
            _check_shrinks(optimizer, self.adapter_name)
        if self.prune_steps is not None:
            self._check_pruning(args)
        if self.save_sparsities:
            self._check_saving(args, model)
        self.path = [row for row in state.log_history if SPARSITY in row]

    def _check_pruning(self, args: TrainingArguments) -> None:
        if args.world_size > 1 or args.deepspeed or args.fsdp:
            raise ConfigError(
                "`prune_steps` must be left unset with several processes, DeepSpeed or FSDP, but is "
                f"{self.prune_steps}: they hold parameters in buffers of fixed shape. Prune after training, "
                "with prune_to_lora."
            )
        if args.load_best_model_at_end:
            raise ConfigError(
                "`prune_steps` must be left unset with load_best_model_at_end: True, but is "
                f"{self.prune_steps}: the best checkpoint has the ranks of its own step, which do not fit "
                "the model at the end. Open it with PeftModel.from_pretrained after training instead."
            )

    def _check_saving(self, args: TrainingArguments, model: Any) -> None:
        if args.logging_strategy == "no" and args.eval_strategy == "no":
            raise ConfigError(
                "`save_sparsities` must be left unset with logging_strategy: 'no', but is "
                f"{self.save_sparsities}: an adapter is saved when its sparsity is logged. Set "
                "logging_strategy: 'steps', and `logging_steps` to how far a share may be passed."
            )
        if gate_sparsity(model, self.adapter_name).remaining:
            # What cannot become a LoRA is an error now instead of in mid-training.
            as_lora(model, self.adapter_name, save_embedding_layers=False)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Put the numbers into the logs and their history, and save the adapter where that was asked for."""
        model = extract_model_from_parallel(kwargs["model"], keep_torch_compile=False)
        metrics = gate_metrics(model, kwargs.get("optimizer"), self.adapter_name)
        if logs is not None:
            logs.update(metrics)
        saved = max((row[SPARSITY] for row in self.path), default=-1.0)
        if state.log_history:
            state.log_history[-1].update(metrics)
            self.path.append(state.log_history[-1])
        due = [sparsity for sparsity in self.save_sparsities if saved < sparsity <= metrics[SPARSITY]]
        if not due or not state.is_world_process_zero:
            return
        if not metrics[REMAINING]:
            warnings.warn(
                f"No LoRA was saved for `save_sparsities` {due}: no gate is left at step "
                f"{state.global_step}, after {max(saved, 0.0):.0%} of zero gates at the log before. Log more "
                "often (`logging_steps`), or let lambda rise more slowly.",
                stacklevel=2,
            )
            return
        for sparsity in due:
            folder = Path(str(args.output_dir)) / f"lora-sparsity-{sparsity:g}"
            save_as_lora(model, folder, self.adapter_name)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Remove zero gates where that was asked for; before a checkpoint of the same step is saved."""
        if self.prune_steps is not None and state.global_step % self.prune_steps == 0:
            model = extract_model_from_parallel(kwargs["model"], keep_torch_compile=False)
            prune_gates(model, kwargs.get("optimizer"), self.adapter_name)


def _shares(save_sparsities: Any) -> list[float]:
    """Sort shares of zero gates, and refuse what is none."""
    advice = "Give shares of zero gates, such as save_sparsities=[0.25, 0.5, 0.75]."
    if isinstance(save_sparsities, str) or not isinstance(save_sparsities, Iterable):
        raise ConfigError(f"`save_sparsities` must be a list of shares, but is {save_sparsities!r}. {advice}")
    shares = list(save_sparsities)
    for share in shares:
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
            raise ConfigError(
                f"`save_sparsities` must be shares from 0 to below 1, but has {share!r}. {advice}"
            )
    return sorted(shares)


def _check_shrinks(optimizer: Optimizer, adapter_name: str) -> None:
    """Raise ConfigError unless the optimizer takes the proximal step on an adapter's gates."""
    chain = list(_unwrapped(optimizer))
    kind = type(chain[-1]).__name__
    otherwise = (
        "Where gates are to stay dense or something else shrinks them, say "
        "SoRACallback(check_optimizer=False)."
    )
    if all(group.get("sora_adapter") != adapter_name for group in optimizer.param_groups):
        raise ConfigError(
            "The trainer's optimizer must be one of `create_sora_optimizer` for the gates of adapter "
            f"{adapter_name!r} to shrink, but is {kind} without a group of them: none was given, the one "
            "given was made for other adapters, or DeepSpeed has dropped it. Give the Trainer "
            'optimizer_cls_and_kwargs=(lambda: create_sora_optimizer, {"lr": 2e-4}), and DeepSpeed a config '
            f'without "optimizer". {otherwise}'
        )
    hooks = [each._optimizer_step_post_hooks for each in chain if hasattr(each, "_optimizer_step_post_hooks")]
    owners = [getattr(hook, "__self__", None) for each in hooks for hook in each.values()]
    # Without any, torch keeps its hooks elsewhere by now.
    if hooks and not any(isinstance(owner, OncePerStep) for owner in owners):
        raise ConfigError(
            "The trainer must step the very optimizer of `create_sora_optimizer` for the gates of adapter "
            f"{adapter_name!r} to shrink, but has a {kind} with its groups and without its proximal step: a "
            "copy, or what accelerate puts in its place where DeepSpeed offloads the optimizer. Set "
            f'"zero_force_ds_cpu_optimizer": false in DeepSpeed\'s config. {otherwise}'
        )


def _unwrapped(optimizer: Any) -> Iterator[Any]:
    """Walk from accelerate's and DeepSpeed's wrappers to the optimizer inside."""
    while optimizer is not None:
        yield optimizer
        optimizer = getattr(optimizer, "optimizer", None)
