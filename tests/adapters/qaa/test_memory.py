"""What a QAA layer keeps for the backward pass, against peft's LoRA of rank 8 on the same layer."""

from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn

from amplitune import QAAConfig

TOKENS = 64


def saved_bytes_per_token(config: Any, width: int, dtype: torch.dtype) -> float:
    """Bytes that a linear layer with an adapter saves, each storage once, without what is a parameter."""
    base = nn.Sequential(nn.Linear(width, width, dtype=dtype))
    model = peft.get_peft_model(base, config)
    owned = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def saved(tokens: int) -> int:
        storages: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in owned:
                storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        x = torch.randn(tokens, width, dtype=dtype, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            out = model(x)
        out.sum().backward()
        return sum(storages.values())

    # The difference leaves out what does not grow with the tokens.
    return (saved(2 * TOKENS) - saved(TOKENS)) / TOKENS


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [96, 768, 2048])
def test_qaa_saves_no_more_than_lora_at_any_depth(width: int, dtype: torch.dtype) -> None:
    lora = saved_bytes_per_token(peft.LoraConfig(r=8, target_modules=["0"]), width, dtype)
    # LoRA keeps its input in the dtype of its weights and the 8 values between its factors.
    assert lora >= width * dtype.itemsize + 8 * 4
    measured = {
        options: saved_bytes_per_token(
            QAAConfig(
                target_modules=["0"], depth=depth, rotation=rotation, readout=readout, circuits=circuits
            ),
            width,
            dtype,
        )
        for options in [
            (1, "RY", "Z", 1),
            (4, "RY", "Z+ZZ", 1),
            (8, "RY", "Z", 2),
            (1, "Rot", "XYZ", 1),
            (3, "Rot", "Z", 1),
            (1, "RYRZ", "interferometric", 1),
        ]
        for depth, rotation, readout, circuits in [options]
    }
    assert len(measured) == 6
    assert set(measured.values()) == {width * dtype.itemsize}
    assert max(measured.values()) <= lora
