"""torch.compile traces each adapter into the model's one graph, forward and backward, at any length."""

from typing import Any

import pytest
import torch
from peft import get_peft_model
from tests.adapters.conftest import ARCHITECTURES, VOCABULARY, Architecture, MakeConfig, Wrap
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from amplitune import QAAConfig
from amplitune.quantum.kernels.dispatch import kernel

QKV = ["q_proj", "k_proj", "v_proj"]


class Attention(nn.Module):
    """Three projections of one input, and what an attention needs of them is their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj = nn.Linear(24, 20)
        self.k_proj = nn.Linear(24, 20)
        self.v_proj = nn.Linear(24, 20)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(x)
        total: Tensor = self.q_proj(h) + 2 * self.k_proj(h) + 3 * self.v_proj(h)
        return total


def short(model: nn.Module) -> Any:
    """The model with its first layer alone, without dropout."""
    (layers,) = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    del layers[1:]
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def tokens(length: int) -> Tensor:
    return torch.randint(0, VOCABULARY, (3, length), generator=torch.Generator().manual_seed(length))


def rows(count: int) -> Tensor:
    return torch.randn(count, 24, generator=torch.Generator().manual_seed(count))


def output_and_gradients(model: nn.Module, run: Any, x: Tensor) -> list[Tensor]:
    model.zero_grad()
    output = run(x)
    # Not the model's own loss: torch.compile cannot trace the warning that GPT-2's gives.
    output = output if isinstance(output, Tensor) else output.logits
    output.square().mean().backward()
    return [output.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


def compare(model: nn.Module, inputs: list[Tensor]) -> int:
    """Compile the model as one graph, or fail; compare what it gives; count the graphs."""
    torch.compiler.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for x in inputs:
        expected = output_and_gradients(model, model, x)
        found = output_and_gradients(model, compiled, x)
        assert len(found) == len(expected) > 3
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    return int(counter.frame_count)


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Any:
    yield
    torch.compiler.reset()


# What differs is the kind of layer and the method; all pairs would take a minute.
@pytest.mark.parametrize(
    ("index", "method"),
    [(0, "qaa"), (0, "sora"), (1, "qaa"), (2, "sora")],
    ids=["llama-qaa", "llama-sora", "gpt2-qaa", "bert-sora"],
)
def test_a_model_is_one_graph_at_any_length(index: int, method: str, wrap: Wrap) -> None:
    """One graph for the first length and one for all others, as without an adapter."""
    model = short(wrap(method, ARCHITECTURES[index])).train()
    assert compare(model, [tokens(7), tokens(11), tokens(13)]) == 2


def test_inference_is_one_graph_at_any_length(llama: Architecture, wrap: Wrap) -> None:
    model = short(wrap("qaa", llama))
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    with torch.no_grad():
        for length in (7, 11, 13):
            torch.testing.assert_close(compiled(tokens(length)).logits, model(tokens(length)).logits)
    assert counter.frame_count == 2


@pytest.mark.parametrize(("name", "share_circuit"), [("native", True), ("torch", False)])
def test_every_kernel_is_traced(name: str, share_circuit: bool) -> None:
    config = QAAConfig(target_modules=QKV, init_weights=False, share_circuit=share_circuit)
    model = get_peft_model(Attention(), config)
    with kernel(name):
        assert compare(model, [rows(5), rows(7), rows(9)]) == 2


def test_adapters_that_are_switched_off_and_on(
    method: str, llama: Architecture, make_config: MakeConfig
) -> None:
    """Switching compiles again, and switching back does not."""
    base = Attention()
    x = rows(5)
    expected = base(x)
    model: Any = get_peft_model(base, make_config(method, llama, task_type=None, target_modules=QKV))
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(model.base_model.model, backend=counter, fullgraph=True)
    adapted = model(x)
    assert not torch.allclose(adapted, expected, atol=1e-4)
    torch.testing.assert_close(compiled(x), adapted)
    for _ in range(2):
        with model.disable_adapter():
            torch.testing.assert_close(compiled(x), expected)
        torch.testing.assert_close(compiled(x), adapted)
    assert counter.frame_count == 2


@pytest.mark.parametrize("method", ["qaa", "sora"])
def test_inductor(method: str, llama: Architecture, make_config: MakeConfig) -> None:
    """The code that torch generates."""
    model = get_peft_model(Attention(), make_config(method, llama, task_type=None, target_modules=QKV))
    compiled = torch.compile(model, fullgraph=True, dynamic=False)
    expected = output_and_gradients(model, model, rows(5))
    found = output_and_gradients(model, compiled, rows(5))
    assert len(found) == len(expected) >= 7
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
