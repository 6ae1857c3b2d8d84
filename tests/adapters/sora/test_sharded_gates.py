"""Gates that are sharded over processes are gathered to be counted, and not pruned on the way."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
import torch, peft
from torch import nn
from amplitune import SoRAConfig, create_sora_optimizer, gate_sparsity, prune_gates, prune_to_lora
from amplitune.adapters import gate_metrics, gate_penalty
from amplitune.adapters.sora.layer import SoRALayer
from amplitune.errors import ConfigError

torch.manual_seed(0)
config = SoRAConfig(r=4, target_modules=["0", "1"], init_weights=False, sparse_lambda=0.3)
model = peft.get_peft_model(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), config)
layers = [module for module in model.modules() if isinstance(module, SoRALayer)]
with torch.no_grad():
    layers[0].sora_gate["default"][:3] = 0
expected, penalty = gate_sparsity(model), gate_penalty(model).detach()
assert expected.remaining == 5

if sys.argv[1] == "fsdp2":
    from torch.distributed.fsdp import fully_shard
    torch.distributed.init_process_group("gloo")
    mesh = torch.distributed.init_device_mesh("cpu", (1,))
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    optimizer = create_sora_optimizer(model, lr=1e-3)
    assert isinstance(layers[0].sora_gate["default"], torch.distributed.tensor.DTensor)
    torch.testing.assert_close(gate_penalty(model).detach(), penalty)
    gate_penalty(model).backward()
    assert layers[1].sora_gate["default"].grad.full_tensor().abs().unique().tolist() == [1 / 8]
else:
    import deepspeed
    deepspeed.init_distributed("gloo")
    settings = {"stage": 3, "stage3_param_persistence_threshold": 0}
    _, optimizer, *_ = deepspeed.initialize(
        model=model,
        optimizer=create_sora_optimizer(model, lr=1e-3),
        config={
            "train_micro_batch_size_per_gpu": 1,
            "zero_optimization": settings,
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
        },
    )
    assert layers[0].sora_gate["default"].numel() == 0
    try:
        gate_penalty(model)
    except ConfigError as error:
        assert "Use ZeRO-2" in str(error)

assert gate_sparsity(model) == expected
assert gate_metrics(model, optimizer) == {
    "sora/lambda": 0.3, "sora/remaining_gates": 5, "sora/sparsity": 0.375
}
for prune in (prune_gates, prune_to_lora):
    try:
        prune(model)
    except ConfigError as error:
        assert "must be whole on each process to be pruned" in str(error)
    else:
        raise AssertionError(prune)
print("done")
"""


@pytest.mark.parametrize("stack", ["fsdp2", "zero3"])
def test_sharded_gates(stack: str, tmp_path: Path) -> None:
    if stack == "zero3" and importlib.util.find_spec("deepspeed") is None:
        pytest.skip("DeepSpeed is not installed")
    process = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_SIZE": "1", "DS_ACCELERATOR": "cpu"}
    rendezvous = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, stack],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | process | rendezvous,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "done"
