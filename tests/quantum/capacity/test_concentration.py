"""Concentration of encoded rows: extremes, normal rows, stated errors, and real hidden states."""

import json
import math
from pathlib import Path

import pytest
import torch

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit, expectation, qubits_for
from amplitune.quantum.capacity import concentration
from amplitune.quantum.capacity.concentration import closeness
from amplitune.quantum.capacity.draws import random_angles, seeded
from amplitune.quantum.capacity.readout_spread import readout_spread


def normal(rows: int, features: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, features, generator=seeded(seed), dtype=torch.float64)


def test_one_state_up_to_scale_and_sign_is_wholly_concentrated() -> None:
    x = normal(1, 10) * torch.tensor([1.0, 2.0, 1e200, 1e-200, 3.0], dtype=torch.float64)[:, None]
    close = closeness(x)
    assert close.fidelity.value == pytest.approx(1)
    assert close.mean_direction.value == pytest.approx(1)
    assert close.leading_direction.value == pytest.approx(1)
    assert close.effective_rank.value == pytest.approx(1)
    assert close.fidelity.standard_error < 1e-12
    opposite = closeness(x * torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0])[:, None])
    assert opposite.fidelity.value == pytest.approx(1)
    assert opposite.leading_direction.value == pytest.approx(1)


def test_orthogonal_rows_are_as_far_apart_as_can_be() -> None:
    close = closeness(5 * torch.eye(6))
    assert close.fidelity.value == 0
    assert max(close.fidelity_quantiles) == 0
    assert close.effective_rank.value == pytest.approx(6)
    assert close.leading_direction.value == pytest.approx(1 / 6)
    assert close.mean_direction.value == pytest.approx(1 / 6)


@pytest.mark.parametrize("features", [3, 32, 300])
def test_normal_rows_have_the_mean_fidelity_of_real_states(features: int) -> None:
    close = closeness(normal(200, features))
    assert abs(close.fidelity.value - 1 / features) < 4 * close.fidelity.standard_error
    assert close.effective_rank.value < min(200, features) + 1e-9
    low, middle, high = close.fidelity_quantiles
    assert 0 < low < middle < high < 1


def test_pairs_are_compared_as_they_are_defined() -> None:
    x = normal(7, 5) + 1
    unit = x / x.norm(dim=1, keepdim=True)
    pairs = torch.tensor([(unit[i] @ unit[j]) ** 2 for i in range(7) for j in range(i)])
    close = closeness(x)
    assert close.fidelity.value == pytest.approx(pairs.mean().item())
    ordered = pairs.sort().values.tolist()
    assert close.fidelity_quantiles == pytest.approx((ordered[1], ordered[10], ordered[19]))
    rho = unit.T @ unit / 7
    eigenvalues = torch.linalg.eigvalsh(rho)
    assert close.leading_direction.value == pytest.approx(eigenvalues[-1].item())
    entropy = -(eigenvalues * eigenvalues.log()).sum().item()
    assert close.effective_rank.value == pytest.approx(math.exp(entropy))


@pytest.mark.parametrize("measure", ["fidelity", "mean_direction", "leading_direction"])
def test_the_stated_error_holds_over_new_rows(measure: str) -> None:
    estimates = [getattr(closeness(normal(60, 8, seed) + 0.7), measure) for seed in range(100)]
    spread = torch.tensor([estimate.value for estimate in estimates]).std().item()
    stated = torch.tensor([estimate.standard_error for estimate in estimates]).mean().item()
    assert 0.75 < stated / spread < 1.3


def test_fidelity_bounds_how_far_readouts_can_differ() -> None:
    x = normal(12, 8) + 0.5
    circuit = Circuit(3, Ansatz("RYRZ", "ring", depth=2), readout="XYZ")
    z = expectation(x, random_angles(circuit, 1, seeded(1)), circuit)
    unit = x / x.norm(dim=1, keepdim=True)
    bound = 2 * (1 - (unit @ unit.T).square()).clamp_min(0).sqrt()
    assert ((z[:, None] - z[None]).abs().amax(dim=-1) <= bound + 1e-12).all()


def test_the_normal_rows_have_the_shape_of_the_given_ones() -> None:
    x = normal(40, 16) + 2
    first, again = concentration(x.reshape(4, 10, 16)), concentration(x)
    assert first == again
    assert first.gaussian.fidelity.samples == 40
    assert first.rows.fidelity.value > 5 * first.gaussian.fidelity.value
    assert first.rows.fidelity.samples == 40


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.ones(3, 4), "`x` must have at least 4 rows, .* but has 3"),
        (torch.ones(4097, 2), "at most 4096 rows"),
        (torch.ones(4), r"of shape \(rows, features\)"),
        (torch.ones(4, 4, dtype=torch.int64), "floating-point"),
        (torch.eye(5)[:, :4], "row 4 is not"),
    ],
)
def test_rows_that_cannot_be_compared_are_refused(x: torch.Tensor, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        concentration(x)


def hidden_states(folder: Path, text: Path, rows: int) -> torch.Tensor:
    """Hidden states that a language model's second layer reads, at `rows` random tokens of real text."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    lines = [json.loads(line)["text"] for line in text.read_text().splitlines()[:40]]
    states = []
    with torch.no_grad():
        for line in lines:
            ids = tokenizer(line, return_tensors="pt", truncation=True, max_length=128)
            # The first token stands out in most models; each row here has something before it.
            states.append(model(**ids, output_hidden_states=True).hidden_states[1][0, 1:])
    joined = torch.cat(states)
    return joined[torch.randperm(len(joined), generator=seeded(0))[:rows]]


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "features", "times", "share"), [("TinyStories-656K", 128, 15, 0.3), ("stories260K", 64, 3, 0.65)]
)
def test_real_hidden_states_are_concentrated(
    name: str, features: int, times: float, share: float, shared: Path
) -> None:
    x = hidden_states(shared / "models" / name, shared / "data" / "tinystories_1000.jsonl", 500)
    assert x.shape == (500, features)
    result = concentration(x)
    real, gaussian = result.rows, result.gaussian
    assert abs(gaussian.fidelity.value - 1 / features) < 4 * gaussian.fidelity.standard_error
    # Measured: mean fidelity 0.216 +- 0.007 and 0.065 +- 0.002; effective rank 18.8 of 112.6, 31.8 of 60.2.
    assert real.fidelity.value - 4 * real.fidelity.standard_error > times * gaussian.fidelity.value
    assert real.effective_rank.value < share * gaussian.effective_rank.value
    assert real.mean_direction.value > 5 * gaussian.mean_direction.value
    # Yet the readouts of the paper's circuit keep most of their spread: 0.85 and 0.95 of normal rows'.
    spread = readout_spread(x, Circuit(qubits_for(features)), draws=30)
    assert 0.6 < spread.ratio.value < 1
