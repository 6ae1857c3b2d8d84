"""The proximal gate step of SoRA, run by the optimizer after each of its steps."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from amplitune.adapters.sora.config import PROXIMAL_FIELDS, SoRAConfig, check_proximal_fields
from amplitune.adapters.sora.gates import check_width, trainable_gates
from amplitune.adapters.weight_decay import weight_decay_groups
from amplitune.errors import ConfigError


def soft_threshold(gate: Tensor, threshold: float) -> Tensor:
    """Shrink gates toward zero, the proximal map of the l1 norm.

        sign(g) max(|g| - t, 0)

    Args:
        gate: gates (real, any shape).
        threshold: t, at least 0.

    Returns:
        Shrunk gates, of the same shape; NaN stays NaN.

    Source:
        Ding et al., EMNLP 2023, arXiv 2311.11696, equations 7 and 8.

    Example:
        >>> soft_threshold(torch.tensor([-2.0, -0.5, 0.5, 2.0]), 1.0) + 0.0
        tensor([-1.,  0.,  0.,  1.])
    """
    return gate.sign() * (gate.abs() - threshold).clamp(min=0)


def reference_threshold(gate: Tensor, threshold: float) -> Tensor:
    """Shrink gates toward zero as the reference code does.

        |g| < t: 0;   |g| = t: g;   t < |g| < 2 t: 0;   |g| >= 2 t: sign(g) (|g| - t)

    That code subtracts t in place and then sets to zero what is below t, so that gates between t and 2 t,
    which the soft threshold only shrinks, are lost too.

    Args:
        gate: gates (real, any shape).
        threshold: t, at least 0.

    Returns:
        Shrunk gates, of the same shape; NaN stays NaN.

    Source:
        github.com/TsinghuaC3I/SoRA, src/sparse_optimizer.py, the end of `step`.

    Example:
        >>> reference_threshold(torch.tensor([-3.0, -1.5, 0.5, 1.0, 2.0]), 1.0)
        tensor([-2.,  0.,  0.,  1.,  1.])
    """
    shrunk = torch.where(gate > threshold, gate - threshold, gate)
    shrunk = torch.where(gate < -threshold, gate + threshold, shrunk)
    return shrunk.masked_fill(shrunk.abs() < threshold, 0.0)


_RULES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "soft": soft_threshold,
    "reference": reference_threshold,
}


def scheduled_lambda(
    step: int,
    sparse_lambda: float,
    lambda_schedule: str,
    lambda_num_steps: int | None,
    lambda_end: float | None,
) -> float:
    """Find lambda after a number of optimizer steps.

        linear:      lambda + (lambda_end - lambda) p
        log-linear:  lambda (lambda_end / lambda)^p        with p = min(step / lambda_num_steps, 1)

    Args:
        step: optimizer steps done before this one.
        sparse_lambda: lambda at step 0.
        lambda_schedule: "constant", "linear" or "log-linear".
        lambda_num_steps: steps until the end value.
        lambda_end: the end value, held afterwards.

    Returns:
        lambda of this step.

    Example:
        >>> [round(scheduled_lambda(step, 1e-4, "log-linear", 2, 1e-2), 6) for step in range(4)]
        [0.0001, 0.001, 0.01, 0.01]
    """
    if lambda_schedule == "constant" or lambda_num_steps is None or lambda_end is None:
        return sparse_lambda
    progress = min(step / lambda_num_steps, 1.0)
    if lambda_schedule == "linear":
        return sparse_lambda + (lambda_end - sparse_lambda) * progress
    return sparse_lambda * (lambda_end / sparse_lambda) ** progress


@torch.no_grad()
def proximal_step(optimizer: Optimizer) -> None:
    """Shrink the gates of an optimizer's SoRA groups, and count the step in each.

    A gate without a gradient is left alone, as by the optimizer itself.

    Args:
        optimizer: an optimizer whose gate groups carry "sora_step" and the fields of the schedule.
    """
    for group in optimizer.param_groups:
        # DeepSpeed's ZeRO-3 steps one group after the other, the others being empty meanwhile.
        if "sora_step" not in group or not group["params"]:
            continue
        threshold = scheduled_lambda(
            group["sora_step"],
            group["sparse_lambda"],
            group["lambda_schedule"],
            group["lambda_num_steps"],
            group["lambda_end"],
        )
        if group["threshold"] == "lr*lambda":
            threshold *= float(group["lr"])
        shrink = _RULES[group["threshold_rule"]]
        for gate in group["params"]:
            if gate.grad is not None:
                gate.copy_(shrink(gate, threshold))
        group["sora_step"] += 1


def _gate_groups(optimizer: Optimizer) -> list[dict[str, Any]]:
    return [group for group in optimizer.param_groups if "sora_step" in group]


class OncePerStep:
    """Runs the proximal step behind each step of an optimizer that is one.

    torch puts hooks around the `step` of a class and around that of the class it inherits from, so that they
    run twice where the one calls the other.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.due = False
        self.groups = len(optimizer.param_groups)
        self.gates = {id(gate) for group in _gate_groups(optimizer) for gate in group["params"]}
        optimizer.register_step_pre_hook(self.before)
        optimizer.register_step_post_hook(self.after)

    def before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        for group in _gate_groups(optimizer):
            self.check_state(group)
        self.due = True

    def check_state(self, group: dict[str, Any]) -> None:
        """Raise where gates are cast or removed since, or the state is from before or after a removal.

        A fused step would take moments of other gates. What DeepSpeed steps are copies, FSDP 1 has parts.
        """
        gates = group["params"]
        for gate in gates:
            check_width(group["sora_adapter"], gate)
        if not all(id(gate) in self.gates and not hasattr(gate, "_fsdp_flattened") for gate in gates):
            return
        found = sum(gate.numel() for gate in gates)
        if gates and group.get("sora_gates", found) != found:
            raise ConfigError(
                f"The optimizer must step the gates that its state is for, {group['sora_gates']} of adapter "
                f"{group['sora_adapter']!r}, but the model has {found}. Give `prune_gates` the optimizer, or "
                "create a new one after it; to resume, open the adapter of the same checkpoint with "
                "PeftModel.from_pretrained(..., is_trainable=True)."
            )

    def after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        # A gradient scaler leaves a step out itself, but for an optimizer that looks at this inside of it.
        found_inf = getattr(optimizer, "found_inf", None)
        left_out = found_inf is not None and bool(found_inf)
        if self.due and not left_out and not self.makes_state_only(optimizer):
            proximal_step(optimizer)
        self.due = False

    def makes_state_only(self, optimizer: Optimizer) -> bool:
        """Whether this was a step of 0 along gradients of 0.

        torch.distributed.checkpoint takes one to make the state that it is about to load. A group by itself,
        as DeepSpeed steps it, is not asked: its gradients may be 0 in a true step.
        """
        groups = optimizer.param_groups
        if len(groups) < self.groups or any(group["lr"] != 0 or not group["params"] for group in groups):
            return False
        gradients = [parameter.grad for group in groups for parameter in group["params"]]
        return not any(bool(gradient.any()) for gradient in gradients if gradient is not None)


def create_sora_optimizer(
    model: nn.Module,
    optimizer_cls: type[Optimizer] = torch.optim.AdamW,
    *,
    lr: float,
    sparse_lambda: float | None = None,
    threshold: str | None = None,
    threshold_rule: str | None = None,
    lambda_schedule: str | None = None,
    lambda_num_steps: int | None = None,
    lambda_end: float | None = None,
    **kwargs: Any,
) -> Optimizer:
    """Create an optimizer that sparsifies SoRA's gates, as `peft.optimizers.create_loraplus_optimizer` does
    LoRA+.

        after each optimizer step:  g <- sign(g) max(|g| - t, 0),  t = lambda or lr * lambda

    The gates of each adapter form a group without weight decay; biases and normalisation weights (modules to
    save) have none either. The proximal step hangs on the optimizer (`register_step_post_hook`): it runs
    once per optimizer step, not per micro-batch, and not when a gradient scaler skips the step. Lambda, its
    schedule and its position are kept in the group like the learning rate, so `state_dict` saves them, and
    loading a state brings back those that it was saved with; the hook is not part of a state dict, nor of a
    copy of the optimizer, so resume by creating the optimizer again and loading the state into it.
    transformers' Trainer takes it as `optimizers=(optimizer, None)` or, which it asks for with FSDP and
    DeepSpeed, as `optimizer_cls_and_kwargs=(lambda: create_sora_optimizer, {"lr": 1e-3})`.

    Args:
        model: a PeftModel with trainable SoRA adapters, or a module that has one inside; what else is
            trainable is optimized too.
        optimizer_cls: any torch optimizer class.
        lr: learning rate of all groups.
        sparse_lambda: lambda at the first step; this and the next five default to the adapter's config.
        threshold: "lambda" or "lr*lambda".
        threshold_rule: "soft", or "reference" for what the reference code does instead.
        lambda_schedule: "constant", "linear" or "log-linear".
        lambda_num_steps: optimizer steps until `lambda_end`.
        lambda_end: lambda at the end.
        **kwargs: further arguments of `optimizer_cls`; `weight_decay` applies to matrices.

    Returns:
        An instance of `optimizer_cls`.

    Raises:
        ConfigError: the model has no trainable SoRA gates, or gates narrower than float32; the schedule is
            incomplete; or the optimizer's step runs no hooks.

    Source:
        Ding et al., EMNLP 2023, arXiv 2311.11696, section 3.3; github.com/TsinghuaC3I/SoRA.

    Example:
        >>> import peft
        >>> from amplitune import SoRAConfig
        >>> model = peft.get_peft_model(nn.Sequential(nn.Linear(4, 4)), SoRAConfig(target_modules=["0"]))
        >>> optimizer = create_sora_optimizer(model, lr=1e-3, sparse_lambda=1e-3, weight_decay=0.01)
        >>> [(len(group["params"]), group["weight_decay"]) for group in optimizer.param_groups]
        [(2, 0.01), (1, 0.0)]
    """
    gates = trainable_gates(model)
    overrides = {
        "sparse_lambda": sparse_lambda,
        "threshold": threshold,
        "threshold_rule": threshold_rule,
        "lambda_schedule": lambda_schedule,
        "lambda_num_steps": lambda_num_steps,
        "lambda_end": lambda_end,
    }
    gate_ids = {id(gate) for adapter in gates for gate in adapter.parameters}
    groups = weight_decay_groups(p for p in model.parameters() if p.requires_grad and id(p) not in gate_ids)
    for adapter in gates:
        groups.append(
            {
                "params": adapter.parameters,
                "weight_decay": 0.0,
                "sora_adapter": adapter.adapter_name,
                "sora_gates": sum(gate.numel() for gate in adapter.parameters),
                "sora_step": 0,
                **_schedule(adapter.config, overrides),
            }
        )
    optimizer = optimizer_cls(groups, lr=lr, **kwargs)  # type: ignore[call-arg]
    if not getattr(type(optimizer).step, "hooked", False):
        raise ConfigError(
            "`optimizer_cls` must make an optimizer whose step runs hooks, as any torch.optim.Optimizer "
            f"does that calls super().__init__, but {type(optimizer).__name__} does not: its gates would "
            "never shrink. Create the torch optimizer first, and wrap it afterwards."
        )
    OncePerStep(optimizer)
    return optimizer


def _schedule(config: SoRAConfig, overrides: dict[str, Any]) -> dict[str, Any]:
    schedule = {
        name: getattr(config, name) if overrides[name] is None else overrides[name]
        for name in PROXIMAL_FIELDS
    }
    if overrides["lambda_schedule"] == "constant":
        # The end and the length in the config belong to the schedule that was overridden.
        schedule |= {"lambda_num_steps": overrides["lambda_num_steps"], "lambda_end": overrides["lambda_end"]}
    check_proximal_fields(**schedule)
    return schedule
