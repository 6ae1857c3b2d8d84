"""Models and tokenizers of a study: labels, padding, skeletons, and names that lead nowhere."""

from pathlib import Path

import pytest
import torch
from tests.study.tiny_models import run_spec

from amplitune.errors import ConfigError
from amplitune.study.running.models import load_config, load_model, load_tokenizer, resolve_model, skeleton
from amplitune.zoo import MODEL_PATH


def test_the_bundled_model_goes_by_its_name() -> None:
    assert resolve_model("zoo:llama") == str(MODEL_PATH)
    assert resolve_model("owner/model") == "owner/model"


def test_a_classifier_gets_the_labels_and_the_padding_token_of_its_task(tiny: Path) -> None:
    spec = run_spec(tiny, "full", "bert")
    tokenizer = load_tokenizer(spec)
    config = load_config(spec, tokenizer, ["cold", "mild", "warm"])
    assert config.label2id == {"cold": 0, "mild": 1, "warm": 2}
    assert config.pad_token_id == tokenizer.pad_token_id == 0


def test_a_skeleton_has_the_shapes_of_the_model_and_no_memory(tiny: Path) -> None:
    for name in ("llama", "gpt2", "bert"):
        spec = run_spec(tiny, "full", name)
        config = load_config(spec, load_tokenizer(spec), ["cold", "warm"] if name == "bert" else None)
        model, bones = load_model(spec, config), skeleton(spec, config)
        assert {k: v.shape for k, v in model.named_parameters()} == {
            k: v.shape for k, v in bones.named_parameters()
        }
        assert {p.device.type for p in bones.parameters()} == {"meta"}


def test_the_dtype_of_the_base_weights(tiny: Path) -> None:
    spec = run_spec(tiny, "lora", dtype="bfloat16")
    model = load_model(spec, load_config(spec, load_tokenizer(spec), None))
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


def test_a_local_model_ignores_the_revision_of_the_hub(tiny: Path) -> None:
    assert load_tokenizer(run_spec(tiny, "lora", revision="v2")).eos_token == "</s>"


@pytest.mark.parametrize("name", ["./absent", "../absent", "/no/such/folder", "a/b/c"])
def test_a_path_that_is_not_there_never_reaches_the_hub(tiny: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is not there") as caught:
        load_tokenizer(run_spec(tiny, "lora", model_name_or_path=name))
    assert name in str(caught.value)
    assert "zoo:llama" in str(caught.value)


def test_a_folder_without_a_model(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="model_name_or_path"):
        load_tokenizer(run_spec(tiny, "lora", model_name_or_path=str(tmp_path)))
