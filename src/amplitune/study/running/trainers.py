"""The trainers of a run, whose checkpoints hold exactly what the training changes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import Trainer

from amplitune.study.running.distributed.shards import split_like

WEIGHTS = "trained.safetensors"
"""The weights in a checkpoint."""


class ResumableTrainer(Trainer):  # type: ignore[misc, unused-ignore]
    """transformers' Trainer with checkpoints of the trained parameters, whatever the method.

    peft's own files hold what a trained adapter needs, which is not always what its training needs: of a
    prefix behind a projection, for one, they hold the outcome without the projection.
    """

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the parameters that are trained, and the buffers."""
        write_weights(Path(output_dir or str(self.args.output_dir)), trained(self.model))

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write none: trl asks for one with each checkpoint."""

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: torch.nn.Module | None = None
    ) -> None:
        stored = load_file(Path(resume_from_checkpoint) / WEIGHTS)
        current = trained(self.model if model is None else model)
        if stored.keys() != current.keys():
            differing = sorted(stored.keys() ^ current.keys())
            raise RuntimeError(
                f"the checkpoint {resume_from_checkpoint} is of other weights: {differing[:5]}"
            )
        with torch.no_grad():
            for name, value in current.items():
                value.copy_(split_like(stored[name], value))


def write_weights(folder: Path, values: Mapping[str, torch.Tensor]) -> None:
    """Write the weights of a checkpoint, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in values.items()}, folder / WEIGHTS)


def trained(model: Any) -> dict[str, torch.Tensor]:
    """Everything that training changes: the parameters with gradients, and the buffers that are stored."""
    stored = model.state_dict(keep_vars=True)
    values: dict[str, torch.Tensor] = {
        name: value for name, value in model.named_parameters() if value.requires_grad
    }
    values |= {name: value for name, value in model.named_buffers() if name in stored}
    return {name: value.detach() for name, value in values.items()}
