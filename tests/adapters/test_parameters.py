"""Counts of parameters against the formulas, for widths that are and are not powers of two."""

import peft
import pytest
import torch
from tests.adapters.conftest import Architecture, Wrap
from torch import nn
from transformers import GPTNeoConfig, GPTNeoForCausalLM

from amplitune import ParameterCount, QAAConfig, SoRAConfig, count_parameters

WIDTHS = [(1, 3), (2, 2), (3, 5), (8, 4), (9, 16), (64, 6), (65, 1)]
ROTATIONS = {"RY": 1, "RYRZ": 2, "Rot": 3}


@pytest.mark.parametrize(("d_in", "d_out"), WIDTHS)
@pytest.mark.parametrize("rotation", sorted(ROTATIONS))
@pytest.mark.parametrize("up_proj_bias", [True, False])
def test_qaa(d_in: int, d_out: int, rotation: str, up_proj_bias: bool) -> None:
    n = max(1, next(n for n in range(10) if 2**n >= d_in))
    config = QAAConfig(target_modules=["0"], rotation=rotation, depth=3, up_proj_bias=up_proj_bias)
    model = peft.get_peft_model(nn.Sequential(nn.Linear(d_in, d_out)), config)
    count = count_parameters(model)
    angles = 3 * ROTATIONS[rotation] * n
    classical = n * d_out + d_out * up_proj_bias
    assert count == ParameterCount(angles + classical, angles, classical, d_in * d_out + d_out)


@pytest.mark.parametrize(("d_in", "d_out"), WIDTHS)
def test_sora(d_in: int, d_out: int) -> None:
    model = peft.get_peft_model(nn.Sequential(nn.Linear(d_in, d_out)), SoRAConfig(r=5, target_modules=["0"]))
    assert count_parameters(model) == ParameterCount(
        5 * (d_in + d_out + 1), 0, 5 * (d_in + d_out + 1), d_in * d_out + d_out
    )


def test_peft_agrees_on_what_trains(method: str, architecture: Architecture, wrap: Wrap) -> None:
    model = wrap(method, architecture)
    count = count_parameters(model)
    trainable, everything = model.get_nb_trainable_parameters()
    assert count.trainable == trainable
    assert count.total + trainable == everything
    assert count.total == sum(p.numel() for p in architecture.model().parameters())
    assert count.percent == 100 * trainable / count.total


def test_only_the_active_adapter_counts(llama: Architecture, wrap: Wrap) -> None:
    model = wrap("qaa", llama)
    expected = count_parameters(model)
    model.add_adapter("second", QAAConfig(target_modules=["q_proj"], depth=4))
    assert count_parameters(model) == expected
    with model.disable_adapter():
        assert count_parameters(model) == ParameterCount(0, 0, 0, expected.total)


def test_without_any_adapter_left(llama: Architecture, wrap: Wrap) -> None:
    model = wrap("qaa", llama)
    total = count_parameters(model).total
    model.delete_adapter("default")
    assert count_parameters(model) == ParameterCount(0, 0, 0, total)


def test_single_rows_of_an_embedding_leave_it_in_the_total(llama: Architecture) -> None:
    base = llama.model()
    total = sum(parameter.numel() for parameter in base.parameters())
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], trainable_token_indices=[1, 3])
    added = 2 * 2 * 48 + 2 * 24
    assert count_parameters(peft.get_peft_model(base, config)) == ParameterCount(added, 0, added, total)


def test_other_methods_and_bare_models(llama: Architecture) -> None:
    total = sum(p.numel() for p in llama.model().parameters())
    assert count_parameters(llama.model()) == ParameterCount(total, 0, total, total)
    lora = peft.get_peft_model(llama.model(), peft.LoraConfig(r=2, target_modules=["q_proj"]))
    assert count_parameters(lora) == ParameterCount(2 * 2 * 48, 0, 2 * 2 * 48, total)
    prefix = peft.get_peft_model(
        llama.model(), peft.PrefixTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")
    )
    # Keys and values of 2 layers and 2 heads of width 6, for 3 virtual tokens.
    assert count_parameters(prefix) == ParameterCount(3 * 2 * 2 * 12, 0, 3 * 2 * 2 * 12, total)


def test_the_papers_preset_on_gpt_neo_1_3b() -> None:
    config = GPTNeoConfig(
        vocab_size=50257,
        max_position_embeddings=2048,
        hidden_size=2048,
        num_layers=24,
        num_heads=16,
        intermediate_size=8192,
        attention_types=[[["global", "local"], 12]],
        tie_word_embeddings=True,
    )
    with torch.device("meta"):
        base = GPTNeoForCausalLM(config)
    model = peft.get_peft_model(
        base,
        QAAConfig(preset="paper", target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
    )
    count = count_parameters(model)
    assert count.trainable == 48 * (11 + 11 * 2048 + 2048) == 1_180_176
    assert (count.angles, count.classical) == (48 * 11, 48 * 12 * 2048)
    # The 1,315,575,808 of the paper's share are the base model's own, its head tied to the embeddings.
    assert count.total == 1_315_575_808
    assert f"{count.percent:.4f}" == "0.0897"
    assert "1,180,176 trainable (528 angles, 1,179,648 classical) of 1,315,575,808" in str(count)
    # peft counts the adapter into the total too.
    assert model.get_nb_trainable_parameters() == (1_180_176, 1_315_575_808 + 1_180_176)
    # Targets left unset are those of LoRA in this architecture, the same two.
    default = QAAConfig(preset="paper", task_type="CAUSAL_LM")
    peft.get_peft_model(
        GPTNeoForCausalLM(
            GPTNeoConfig(
                vocab_size=8, hidden_size=8, num_layers=2, num_heads=2, attention_types=[[["global"], 2]]
            )
        ),
        default,
    )
    assert default.target_modules == {"q_proj", "v_proj"}
