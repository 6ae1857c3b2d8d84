"""The count of a model's parameters, circuit angles and classical weights apart."""

from collections.abc import Iterator
from dataclasses import dataclass

from peft import PeftModel
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn

from amplitune.adapters.qaa.layer import QAALayer


@dataclass(frozen=True)
class ParameterCount:
    """How many parameters a model has and trains.

    Args:
        trainable: parameters that training changes, angles + classical.
        angles: trainable rotation angles of circuits.
        classical: all other trainable parameters: up-projections, low-rank factors, gates, modules to save,
            the angles of a classical twin.
        total: parameters of the base model, without what adapters add; the usual denominator.
        frozen_angles: angles of the active adapters that stay at their start (`train_angles: false`).
    """

    trainable: int
    angles: int
    classical: int
    total: int
    frozen_angles: int = 0

    @property
    def percent(self) -> float:
        """Trainable parameters in percent of the base model's."""
        return 100 * self.trainable / self.total

    def __str__(self) -> str:
        """Say it in one line."""
        frozen = f"; {self.frozen_angles:,} angles frozen" if self.frozen_angles else ""
        return (
            f"{self.trainable:,} trainable ({self.angles:,} angles, {self.classical:,} classical) of "
            f"{self.total:,}: {self.percent:.4f} %{frozen}"
        )


def count_parameters(model: nn.Module) -> ParameterCount:
    """Count the parameters of a model, wrapped by peft or not.

    QAA with m observables of n qubits:  angles = depth * rotations * n,  classical = m d_out + d_out, per
    module.

    peft's `get_nb_trainable_parameters` counts the adapters into the total; here the total is the base
    model's, as in the papers that quote a share, so that it is the same for all methods.

    Args:
        model: a PeftModel of any method, a model with injected adapters, or a bare model.

    Returns:
        The counts; a tied parameter counts once.

    Example:
        >>> import peft
        >>> from amplitune import QAAConfig
        >>> net = nn.Sequential(nn.Linear(6, 5))
        >>> print(count_parameters(peft.get_peft_model(net, QAAConfig(target_modules=["0"]))))
        23 trainable (3 angles, 20 classical) of 35: 65.7143 %
    """
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    circuits = [module for module in model.modules() if isinstance(module, QAALayer)]
    angles = sum(
        angle.numel() for module in circuits for angle in module.qaa_angles.values() if angle.requires_grad
    )
    frozen = sum(
        angle.numel()
        for module in circuits
        if not module.disable_adapters
        for name, angle in module.qaa_angles.items()
        if name in module.active_adapters and not module.qaa_train_angles[name]
    )
    added = {id(p) for p in _added_parameters(model)}
    total = sum(p.numel() for p in model.parameters() if id(p) not in added)
    return ParameterCount(trainable, angles, trainable - angles, total, frozen)


def _added_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    """Walk through the parameters that peft added to the base model, by where peft puts them."""
    kept = {BaseTunerLayer: "base_layer", AuxiliaryTrainingWrapper: "original_module", BaseTuner: "model"}
    for module in model.modules():
        if isinstance(module, PeftModel) and any(
            config.is_prompt_learning for config in module.peft_config.values()
        ):
            yield from module.prompt_encoder.parameters()
        for kind, base in kept.items():
            if isinstance(module, kind):
                yield from module.parameters(recurse=False)
                for name, child in module.named_children():
                    # A layer inside, as peft's for single rows of an embedding, has a part of the base model.
                    if name != base and not isinstance(child, BaseTunerLayer):
                        yield from child.parameters()
