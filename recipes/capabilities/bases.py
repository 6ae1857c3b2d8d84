"""Trials of what an adapter goes around: kinds of modules, fused projections, quantised weights."""

import importlib.util
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from peft import PeftModel, get_peft_model, prepare_model_for_kbit_training
from recipes.capabilities.trial import (
    Trial,
    UnsupportedError,
    UntriedError,
    config,
    different,
    gpt2,
    llama,
    logits,
    same,
    trained,
)
from tests.adapters.layers.quantized.schemes import SCHEMES, WIDTH, Scheme
from torch import Tensor, nn
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

LAYERS, QUANTISED = "Layers", "Quantised bases"
NAMES = {
    "bnb-int8": "bitsandbytes, 8 bit",
    "bnb-nf4": "bitsandbytes, 4 bit (nf4)",
    "bnb-fp4-twice": "bitsandbytes, 4 bit (fp4, double quantisation)",
    "torchao-int8": "torchao, 8 bit",
    "torchao-int4": "torchao, 4 bit",
    "hqq": "HQQ, 4 bit",
    "gptq": "GPTQ, 4 bit",
    "awq": "AWQ, 4 bit",
}


class Reader(nn.Module):
    """A module to adapt, called "target", and a head with a loss behind it."""

    def __init__(self, target: nn.Module, x: Tensor) -> None:
        """Build the head for what `target` makes of `x`."""
        super().__init__()
        torch.manual_seed(0)
        self.target = target
        self.x = x
        width = int(self.read(x).flatten(1).shape[1])
        self.head = nn.Linear(width, 2)

    def read(self, x: Tensor) -> Tensor:
        """Call the module as its kind is called."""
        if isinstance(self.target, nn.MultiheadAttention) or hasattr(self.target, "embed_dim"):
            attended: Tensor = self.target(x, x, x)[0]
            return attended
        found: Tensor = self.target(x)
        return found

    def forward(self, labels: Tensor) -> Any:
        """Compute the loss of classifying the fixed input."""
        found = self.head(self.read(self.x).flatten(1))
        return OrderedDict(loss=nn.functional.cross_entropy(found, labels), logits=found)


def kind(make: Callable[[], nn.Module], x: Tensor) -> Callable[[str], None]:
    """Make a trial of a kind of module: adapt, train, save, load."""

    def run(method: str) -> None:
        def base() -> nn.Module:
            torch.manual_seed(0)
            return Reader(make(), x)

        labels = torch.arange(len(x)) % 2
        model: Any = get_peft_model(base(), config(method, target_modules=["target"]))
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
        losses = []
        for _ in range(3):
            loss = model(labels)["loss"]
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
        assert losses[-1] < losses[0], losses
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            model.save_pretrained(folder)
            again = PeftModel.from_pretrained(base(), folder).eval()
            same(again(labels)["logits"], model.eval()(labels)["logits"])

    return run


def conv1d(method: str) -> None:
    """Adapt GPT-2's Conv1D."""
    model = get_peft_model(gpt2(), config(method, target_modules=["c_attn", "c_fc"], task_type="CAUSAL_LM"))
    trained(model)


def fused(method: str) -> None:
    """Adapt the query and the value part of GPT-NeoX's fused projection, and no other rows."""
    if method != "QAA":
        raise UnsupportedError("one low-rank update for the whole projection; no targets inside it")
    torch.manual_seed(0)
    base: Any = GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=32,
            hidden_size=24,
            intermediate_size=24,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=32,
            bos_token_id=None,
            eos_token_id=None,
        )
    ).eval()
    parts = {"query_key_value": ["q", "v"]}
    model = get_peft_model(
        base,
        config(method, target_modules=["query_key_value"], fused_parts=parts, task_type="CAUSAL_LM"),
    )
    layer = next(module for name, module in model.named_modules() if name.endswith("query_key_value"))
    x = torch.randn(1, 3, 24)
    with torch.no_grad():
        change = (layer(x) - layer.get_base_layer()(x)).reshape(3, 2, 3, 12)
    assert float(change[:, :, 1].abs().max()) == 0, "the key part has changed"
    assert float(change[:, :, (0, 2)].abs().min()) > 0
    trained(model)


def quantised(scheme: Scheme, merging: bool) -> Callable[[str], None]:
    """Make a trial of a way to quantise: load, prepare, train, save, load; or merge and take back."""

    def run(method: str) -> None:
        if importlib.util.find_spec(scheme.library) is None:
            raise UntriedError(f"needs {scheme.library}")
        with tempfile.TemporaryDirectory() as folder:
            llama(hidden_size=WIDTH, intermediate_size=WIDTH).save_pretrained(f"{folder}/base")

            def opened() -> Any:
                base = scheme.quantize(f"{folder}/base")
                return prepare_model_for_kbit_training(base, use_gradient_checkpointing=False)

            model = get_peft_model(opened(), config(method, task_type="CAUSAL_LM")).eval()
            if merging:
                before = logits(model)
                model.merge_adapter()
                different(logits(model), before)
                model.unmerge_adapter()
                off = float((logits(model) - before).abs().max())
                assert off < 2e-2, f"taken back, outputs differ by up to {off:.1g}"
                return
            trained(model)
            model.save_pretrained(f"{folder}/adapter")
            loaded = PeftModel.from_pretrained(opened(), f"{folder}/adapter").eval()
            same(logits(loaded), logits(model))

    return run


IMAGES = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))
CHANNELS = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(3))
SERIES = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(2))

TRIALS = (
    Trial(LAYERS, "`nn.Linear`", kind(lambda: nn.Linear(8, 4), SERIES)),
    Trial(LAYERS, "GPT-2's `Conv1D`", conv1d),
    Trial(LAYERS, "`nn.Conv2d`", kind(lambda: nn.Conv2d(3, 4, 3, stride=2, padding=1), IMAGES)),
    Trial(
        LAYERS,
        "`nn.Conv2d(groups=2)`",
        kind(lambda: nn.Conv2d(4, 6, 3, groups=2), CHANNELS),
    ),
    Trial(
        LAYERS,
        "`nn.Embedding`",
        kind(lambda: nn.Embedding(16, 8), torch.arange(10).reshape(2, 5)),
    ),
    Trial(LAYERS, "`nn.Conv1d`", kind(lambda: nn.Conv1d(5, 4, 3), SERIES)),
    Trial(
        LAYERS,
        "`nn.MultiheadAttention`",
        kind(lambda: nn.MultiheadAttention(8, 2, batch_first=True), SERIES),
    ),
    Trial(LAYERS, "parts of a fused projection (`fused_parts`)", fused),
    *(
        Trial(QUANTISED, f"{NAMES[scheme.name]}{ending}", quantised(scheme, bool(ending)))
        for scheme in SCHEMES
        for ending in ("", ", merged and taken back")
    ),
)
