"""The warning that the angles which are about to be trained are too coarse for an optimizer's steps."""

import warnings

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

#: What DeepSpeed notes at parameters whose copy in float32 its optimizer steps.
_HAS_COPY = ("_hp_mapping", "ds_id")


def warn_of_coarse_angles(model: nn.Module, layer_cls: type[BaseTunerLayer]) -> None:
    """Warn if angles that are trained have fewer bits than float32.

    Angles are uniform in [-pi, pi) and, unlike an up-projection that starts at zero, are large beside a step:
    one below 1/512 of an angle is rounded away in bfloat16. The first layer is looked at alone, since a cast
    is one of all, and so often that this must cost nothing.

    Args:
        model: the model with the adapter's layers in place.
        layer_cls: the class of the method's layers.

    Warns:
        UserWarning: naming the dtype, and how to cast back.
    """
    layer = next((module for module in model.modules() if isinstance(module, layer_cls)), None)
    for name, angles in layer.named_parameters() if layer is not None else ():
        kind, _, adapter_name = name.rpartition(".")
        if not kind.endswith("_angles") or not angles.requires_grad or angles.dtype.itemsize >= 4:
            continue
        if not any(hasattr(angles, note) for note in _HAS_COPY):
            warnings.warn(
                f"The angles of adapter {adapter_name!r} are {angles.dtype}, too coarse to train: in "
                "bfloat16 a step below 1/512 of an angle is lost, at a learning rate of 2e-4 nearly every "
                "one. trl's trainers cast the adapter of a quantised model: afterwards set `parameter.data = "
                "parameter.data.float()` for the trainable parameters. Else cast the base model before it is "
                "wrapped, and leave `autocast_adapter_dtype` at its default.",
                stacklevel=2,
            )
