"""The tracker of live storages, against sums worked out by hand."""

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from amplitune.study.running.memory_tracking import track_memory

FLOAT = 4


def test_a_storage_counts_once_while_it_lives() -> None:
    with track_memory() as trace:
        first = torch.empty(100)
        view, again = first[:50], first.detach()
        assert trace.live == 100 * FLOAT
        second = first + 1
        assert trace.live == 200 * FLOAT
        del first, view
        assert trace.live == 200 * FLOAT
        del again
        assert trace.live == 100 * FLOAT
        second.add_(1)
        del second
        assert trace.live == 0
    assert trace.peak == 200 * FLOAT


def test_what_is_made_before_and_after_is_not_counted() -> None:
    before = torch.empty(10)
    with track_memory() as trace:
        inside = torch.empty(20)
    after = torch.empty(1000)
    assert trace.peak == 20 * FLOAT
    assert (before.numel(), inside.numel(), after.numel()) == (10, 20, 1000)
    del inside
    assert trace.live == 0


def test_a_step_of_a_linear_layer_by_hand() -> None:
    """y = (x W).sum(): nothing but W's gradient and single numbers; with relu its output is kept as well."""
    torch.manual_seed(0)
    rows, width, out = 7, 5, 3
    layer = nn.Linear(width, out, bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    x = torch.randn(rows, width)
    layer(x).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    with track_memory(layer, optimizer) as trace:
        y = layer(x).relu()
        # The product lives until relu has made y.
        assert trace.peak == (2 * width * out + 2 * rows * out) * FLOAT
        y.sum().backward()
        split = trace.split()
    weights = width * out * FLOAT
    assert (split.weights, split.gradients, split.optimizer) == (weights, weights, weights)
    # At its highest: y, the sum, its gradient and the gradient of the product (relu's of y is a view of one).
    assert split.activations == (2 * rows * out + 2) * FLOAT


def test_tied_weights_count_once_and_buffers_count() -> None:
    model = nn.ModuleDict({"a": nn.Linear(4, 4, bias=False), "b": nn.Linear(4, 4, bias=False)})
    model["b"].weight = model["a"].weight
    model.register_buffer("table", torch.zeros(6))
    with track_memory(model) as trace:
        pass
    assert trace.split().weights == trace.peak == (16 + 6) * FLOAT


def test_fake_tensors_give_what_real_ones_give() -> None:
    def step() -> tuple[int, ...]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Dropout(0.1), nn.Linear(16, 8), nn.LayerNorm(8))
        optimizer = torch.optim.AdamW(model.parameters())
        x = torch.randn(32, 8)
        for _ in range(2):
            optimizer.zero_grad()
            with track_memory(model, optimizer) as trace:
                nn.functional.cross_entropy(model(x), torch.zeros(32, dtype=torch.long)).backward()
                optimizer.step()
                split = trace.split()
        return (split.weights, split.gradients, split.optimizer, split.activations, split.peak)

    real = step()
    with FakeTensorMode():
        assert step() == real
    # exp_avg, exp_avg_sq and a count for each of the six parameters.
    assert real[2] == 2 * real[0] + 6 * FLOAT
