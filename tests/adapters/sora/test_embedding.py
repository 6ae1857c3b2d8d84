"""SoRA around embeddings: its formula, the base layer's options, merging, pruning, saving."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file
from tests.adapters.conftest import Architecture, MakeConfig, Wrap
from tests.adapters.test_lifecycle import logits
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.bart.modeling_bart import BartScaledWordEmbedding
from transformers.models.gemma3.modeling_gemma3 import Gemma3TextScaledWordEmbedding
from transformers.models.opt.modeling_opt import OPTLearnedPositionalEmbedding

from amplitune import (
    QAAConfig,
    SoRAConfig,
    count_parameters,
    create_sora_optimizer,
    gate_sparsity,
    prune_to_lora,
)
from amplitune.adapters.sora.embedding import SoRAEmbedding
from amplitune.adapters.sora.layer import SoRALayer
from amplitune.errors import ConfigError, NotMergeableError

TARGETS = {"llama": "embed_tokens", "gpt2": "wte", "bert": "word_embeddings"}


def layer_around(base: nn.Embedding, **fields: Any) -> Any:
    options: dict[str, Any] = {"r": 3, "lora_alpha": 5, "target_modules": ["0"], "init_weights": False}
    return SoRAEmbedding(base, "default", SoRAConfig(**options | fields), "0")


def parts(layer: Any) -> tuple[Tensor, Tensor, Tensor]:
    return layer.sora_A["default"], layer.sora_B["default"], layer.sora_gate["default"]


def test_the_layer_computes_its_formula() -> None:
    base = nn.Embedding(7, 4).double()
    layer = layer_around(base)
    a, b, gate = parts(layer)
    assert (a.shape, b.shape, gate.shape) == ((3, 7), (4, 3), (3,))
    x = torch.randint(0, 7, (2, 5))
    delta = 5 / 3 * b @ torch.diag(gate) @ a
    torch.testing.assert_close(layer(x), base(x) + delta.T[x], atol=1e-12, rtol=0)
    torch.testing.assert_close(layer.get_delta_weight("default"), delta.T)


def test_it_starts_as_lora_does_and_unseen_rows_stay() -> None:
    net = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2))
    before = net(torch.arange(9))
    model: Any = get_peft_model(net, SoRAConfig(r=400, target_modules=["0"]))
    layer: Any = net[0]
    a, b, _ = parts(layer)
    assert not a.any()
    assert abs(float(b.detach().std()) - 1) < 0.1
    assert torch.equal(model(torch.arange(9)), before)
    optimizer = create_sora_optimizer(model, lr=0.1)
    for _ in range(2):
        model(torch.tensor([1, 3])).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    changed = (model(torch.arange(9)) - before).abs().amax(dim=1) > 0
    assert changed.nonzero().flatten().tolist() == [1, 3]
    assert count_parameters(model).trainable == 400 * (9 + 4 + 1)
    assert gate_sparsity(model).gates == 400


@pytest.mark.parametrize(
    "options",
    [{}, {"padding_idx": 2}, {"padding_idx": -1}, {"scale_grad_by_freq": True}, {"sparse": True}],
    ids=str,
)
def test_a_has_the_gradient_of_the_base_layers_options(options: dict[str, Any]) -> None:
    base = nn.Embedding(7, 4, **options).double()
    layer = layer_around(base)
    a, b, gate = parts(layer)
    x = torch.tensor([[2, 2, 5], [6, 5, 2]])
    layer(x).sin().sum().backward()
    rows = a.detach().T.clone().requires_grad_()
    embedded = functional.embedding(x, rows, **options | {"padding_idx": base.padding_idx, "sparse": False})
    (base(x) + 5 / 3 * (embedded * gate) @ b.T).sin().sum().backward()
    found, expected = a.grad, rows.grad
    assert found is not None
    assert expected is not None
    assert not found.is_sparse
    torch.testing.assert_close(found, expected.T)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "make", [Gemma3TextScaledWordEmbedding, BartScaledWordEmbedding], ids=["tensor", "float"]
)
def test_the_branch_is_scaled_as_the_row_is(make: Any, dtype: torch.dtype) -> None:
    scale = 33.941125  # sqrt(1152), Gemma 3's; bfloat16 makes it 34
    base = make(7, 4, 0, embed_scale=scale).to(dtype)
    layer = layer_around(base)
    x = torch.arange(7)
    rounded = 34.0 if dtype == torch.bfloat16 and make is Gemma3TextScaledWordEmbedding else scale
    torch.testing.assert_close(
        layer.branch(x, "default"), layer.get_delta_weight("default") * rounded, rtol=1e-5, atol=1e-5
    )
    adapted = layer(x)
    assert adapted.dtype == dtype
    layer.merge()
    # Two roundings to bfloat16 instead of one.
    tolerance = 0.02 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(layer(x), adapted, rtol=tolerance, atol=tolerance)


def test_max_norm_is_for_the_base_layers_rows() -> None:
    net = nn.Sequential(nn.Embedding(7, 4, max_norm=0.5))
    model: Any = get_peft_model(net, SoRAConfig(r=3, target_modules=["0"], init_weights=False))
    layer: Any = net[0]
    a, _, gate = parts(layer)
    before, x = a.clone(), torch.arange(7)
    adapted = model(x)
    assert torch.equal(a, before)
    assert a.detach().norm(dim=0).max() > 0.5
    base = layer.get_base_layer().weight
    torch.testing.assert_close(adapted, base + layer.get_delta_weight("default"))
    kept = base.clone()
    for merge in (model.merge_adapter, model.merge_and_unload):
        with pytest.raises(NotMergeableError, match=r"max_norm=0\.5 cannot be merged"):
            merge()
    assert torch.equal(base, kept)
    with torch.no_grad():
        gate[1] = 0.0
        expected = model(x)
        # peft's LoRA limits the norm of the columns of its A, which are short enough.
        torch.testing.assert_close(prune_to_lora(model)(x), expected)


@pytest.mark.parametrize("safe_merge", [False, True])
def test_merge_and_unmerge(architecture: Architecture, wrap: Wrap, tokens: Tensor, safe_merge: bool) -> None:
    model: Any = wrap("sora", architecture, target_modules=[TARGETS[architecture.name]])
    adapted = logits(model, tokens)
    assert not torch.allclose(adapted, logits(architecture.model(), tokens), atol=1e-3)
    model.merge_adapter(safe_merge=safe_merge)
    torch.testing.assert_close(logits(model, tokens), adapted)
    with model.disable_adapter():
        torch.testing.assert_close(logits(model, tokens), logits(architecture.model(), tokens))
    model.merge_adapter(safe_merge=safe_merge)
    model.unmerge_adapter()
    torch.testing.assert_close(logits(model, tokens), adapted)


def test_rows_of_a_batch_may_have_different_adapters(
    llama: Architecture, wrap: Wrap, make_config: MakeConfig, tokens: Tensor
) -> None:
    targets = ["embed_tokens", "q_proj"]
    model: Any = wrap("sora", llama, target_modules=targets)
    model.add_adapter("second", make_config("sora", llama, target_modules=targets, r=2))
    model.eval()
    expected = []
    for row, name in enumerate(["second", None, "default"]):
        if name is None:
            expected.append(logits(llama.model(), tokens[row : row + 1]))
        else:
            model.set_adapter(name)
            expected.append(logits(model, tokens[row : row + 1]))
    with torch.no_grad():
        mixed = model(tokens, adapter_names=["second", "__base__", "default"]).logits
    torch.testing.assert_close(mixed, torch.cat(expected))


@pytest.mark.parametrize("save_embedding_layers", ["auto", False])
def test_save_and_load(
    architecture: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Path, save_embedding_layers: Any
) -> None:
    model = wrap("sora", architecture, target_modules=[TARGETS[architecture.name]])
    expected = logits(model, tokens)
    model.save_pretrained(str(tmp_path), save_embedding_layers=save_embedding_layers)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    # peft knows embeddings by the name embed_tokens.
    with_base = architecture.name == "llama" and save_embedding_layers == "auto"
    assert any(key.endswith("embed_tokens.base_layer.weight") for key in saved) == with_base
    loaded = PeftModel.from_pretrained(architecture.model(), str(tmp_path)).eval()
    assert torch.equal(logits(loaded, tokens), expected)


def test_the_adapter_is_float32_in_a_bfloat16_model(llama: Architecture, make_config: MakeConfig) -> None:
    base = llama.model().to(torch.bfloat16)
    model = get_peft_model(base, make_config("sora", llama, target_modules=["embed_tokens"]))
    layer: Any = next(module for module in model.modules() if isinstance(module, SoRAEmbedding))
    assert {parameter.dtype for parameter in parts(layer)} == {torch.float32}
    x = torch.arange(5)
    assert layer.branch(x, "default").dtype == torch.float32
    assert layer(x).dtype == torch.bfloat16


@pytest.mark.parametrize("pruned", [False, True], ids=["kept", "pruned away"])
def test_prune_to_lora(architecture: Architecture, wrap: Wrap, tokens: Tensor, pruned: bool) -> None:
    targets = [TARGETS[architecture.name], *architecture.targets]
    model: Any = wrap("sora", architecture, target_modules=targets, r=4)
    embedding: Any = next(module for module in model.modules() if isinstance(module, SoRAEmbedding))
    for module in model.modules():
        if isinstance(module, SoRALayer):
            with torch.no_grad():
                module.sora_gate["default"][: 4 if pruned and module is embedding else 2] = 0.0
    expected = logits(model, tokens)
    lora: Any = prune_to_lora(model)
    torch.testing.assert_close(logits(lora, tokens), expected)
    found = [module for module in lora.modules() if getattr(module, "lora_embedding_A", None)]
    assert [module.lora_embedding_A["default"].shape[0] for module in found] == ([] if pruned else [2])


def test_an_embedding_that_does_something_else_is_refused() -> None:
    net = nn.ModuleDict({"positions": OPTLearnedPositionalEmbedding(8, 4), "tokens": nn.Embedding(7, 4)})
    with pytest.raises(
        ConfigError, match="positions is a OPTLearnedPositionalEmbedding with a `forward` of its own"
    ):
        get_peft_model(net, SoRAConfig(target_modules=["tokens", "positions"]))
    assert isinstance(net["tokens"], nn.Embedding)


def test_qaa_says_why_it_cannot(llama: Architecture, make_config: MakeConfig) -> None:
    config: QAAConfig = make_config("qaa", llama, target_modules=["q_proj", "embed_tokens"])
    with pytest.raises(
        ConfigError, match=r"embed_tokens is Embedding. An index has no amplitudes.*SoRAConfig"
    ):
        get_peft_model(llama.model(), config)


def test_it_compiles_without_a_graph_break() -> None:
    layer = layer_around(nn.Embedding(7, 4, padding_idx=0))
    x = torch.randint(0, 7, (2, 5))
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x))
