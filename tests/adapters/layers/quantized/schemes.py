"""The ways to quantise a tiny model that are tested, all on the CPU."""

import functools
import importlib
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaForCausalLM, TorchAoConfig

# bitsandbytes' kernels for CPUs with AVX512-BF16 take widths that 64 divides.
WIDTH = 64


@dataclass(frozen=True)
class Scheme:
    """A way to quantise the linear layers of the model that lies in a folder."""

    name: str
    library: str
    quantize: Callable[[str], Any]
    merges: bool = True


def _bitsandbytes(folder: str, **fields: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, quantization_config=BitsAndBytesConfig(**fields))


def _torchao(folder: str, config_name: str, **fields: Any) -> Any:
    import torchao.quantization

    config = TorchAoConfig(quant_type=getattr(torchao.quantization, config_name)(**fields))
    return AutoModelForCausalLM.from_pretrained(folder, quantization_config=config)


def _torchao_int4(folder: str) -> Any:
    from torchao.quantization.granularity import PerGroup

    # Not in torch's stubs.
    dtypes: Any = torch
    return _torchao(folder, "IntxWeightOnlyConfig", weight_dtype=dtypes.int4, granularity=PerGroup(32))


def _replaced(folder: str, method: str, quantized: Callable[[nn.Linear], nn.Module]) -> Any:
    model: Any = LlamaForCausalLM.from_pretrained(folder)
    # As transformers does; peft's preparation for training asks for it.
    model.quantization_method = method
    for name, module in list(model.model.named_modules()):
        if isinstance(module, nn.Linear):
            parent, _, child = name.rpartition(".")
            setattr(operator.attrgetter(parent)(model.model), child, quantized(module.requires_grad_(False)))
    return model


def _hqq(folder: str) -> Any:
    from hqq.core.quantize import BaseQuantizeConfig, HQQLinear

    config = BaseQuantizeConfig(nbits=4, group_size=32)
    return _replaced(
        folder, "hqq", lambda linear: HQQLinear(linear, config, compute_dtype=torch.float32, device="cpu")
    )


def _gptqmodel(folder: str, module: str, class_name: str) -> Any:
    kind = getattr(importlib.import_module(f"gptqmodel.nn_modules.qlinear.{module}"), class_name)

    def quantized(linear: nn.Linear) -> nn.Module:
        # Its packing compiles a kernel for a minute; random integers with small scales are a layer too.
        layer = kind(
            bits=4,
            group_size=32,
            sym=True,
            desc_act=False,
            in_features=linear.in_features,
            out_features=linear.out_features,
            bias=linear.bias is not None,
            register_buffers=True,
        )
        for name, buffer in layer.named_buffers():
            if name in ("qweight", "qzeros"):
                buffer.random_(-(2**31), 2**31)
            if name == "scales":
                buffer.fill_(0.003)
        layer.post_init()
        return layer

    # The random integers must be the same each time.
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return _replaced(folder, "gptq", quantized)


SCHEMES = (
    Scheme("bnb-int8", "bitsandbytes", functools.partial(_bitsandbytes, load_in_8bit=True)),
    Scheme(
        "bnb-nf4",
        "bitsandbytes",
        functools.partial(_bitsandbytes, load_in_4bit=True, bnb_4bit_quant_type="nf4"),
    ),
    Scheme(
        "bnb-fp4-twice",
        "bitsandbytes",
        functools.partial(
            _bitsandbytes, load_in_4bit=True, bnb_4bit_quant_type="fp4", bnb_4bit_use_double_quant=True
        ),
    ),
    Scheme("torchao-int8", "torchao", functools.partial(_torchao, config_name="Int8WeightOnlyConfig")),
    Scheme("torchao-int4", "torchao", _torchao_int4),
    Scheme("hqq", "hqq", _hqq),
    Scheme(
        "gptq",
        "gptqmodel",
        functools.partial(_gptqmodel, module="torch", class_name="TorchLinear"),
        merges=False,
    ),
    Scheme(
        "awq",
        "gptqmodel",
        functools.partial(_gptqmodel, module="torch_awq", class_name="AwqTorchLinear"),
        merges=False,
    ),
)
