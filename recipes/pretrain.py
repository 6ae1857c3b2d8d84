"""Pretrains the bundled Llama-architecture language model and its tokenizer on generated paragraphs."""

import argparse
import json
import math
import os
import platform
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

import tokenizers
import torch
import transformers
import yaml
from tokenizers import decoders, models, pre_tokenizers, processors, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from amplitune.zoo.grammar import corpus

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
HERE = Path(__file__).resolve().parent

Settings = dict[str, Any]


def train_tokenizer(settings: Settings) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer; every byte is a token, so no text is unknown to it."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    # One token a digit: numbers are then copied and compared digit by digit.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings["tokenizer"]["vocab_size"],
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(settings["seed"], 0, settings["tokenizer"]["paragraphs"]), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=settings["model"]["max_position_embeddings"],
        clean_up_tokenization_spaces=False,
    )


def build_model(settings: Settings, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Make the untrained model."""
    torch.manual_seed(settings["seed"])
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
            **settings["model"],
        )
    )


def rows(
    settings: Settings, tokenizer: PreTrainedTokenizerFast, start: int
) -> Iterator[tuple[list[int], int]]:
    """Pack paragraphs into rows of equal length; each row begins with the beginning of a paragraph.

    Args:
        settings: the recipe's settings.
        tokenizer: gives the ids.
        start: index of the first paragraph.

    Yields:
        A row of token ids, and the index of the first paragraph of the next row.
    """
    length, index = settings["model"]["max_position_embeddings"], start
    row: list[int] = []
    chunk = 256
    while True:
        texts = list(corpus(settings["seed"], index, index + chunk))
        for offset, ids in enumerate(tokenizer(texts)["input_ids"]):
            row += [*ids, tokenizer.eos_token_id]
            if len(row) >= length:
                yield row[:length], index + offset + 1
                row = []
        index += chunk


def held_out(settings: Settings, tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
    """Encode paragraphs of another seed whose names are in no training text, each ended by EOS."""
    texts = list(corpus(settings["seed"] + 1, 0, settings["evaluation"]["paragraphs"], held_out=True))
    return [[*ids, tokenizer.eos_token_id] for ids in tokenizer(texts)["input_ids"]]


@torch.inference_mode()
def evaluate(model: LlamaForCausalLM, sequences: list[list[int]], pad: int) -> float:
    """Mean loss in nats per predicted token."""
    model.eval()
    total, count = 0.0, 0
    for start in range(0, len(sequences), 32):
        batch = sequences[start : start + 32]
        width = max(map(len, batch))
        ids = torch.tensor([sequence + [pad] * (width - len(sequence)) for sequence in batch])
        mask = torch.tensor([[1] * len(sequence) + [0] * (width - len(sequence)) for sequence in batch])
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
        losses = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
        )
        keep = mask[:, 1:].flatten()
        total += float((losses * keep).sum())
        count += int(keep.sum())
    model.train()
    return total / count


def unigram_loss(settings: Settings, tokenizer: PreTrainedTokenizerFast, sequences: list[list[int]]) -> float:
    """Loss of the token frequencies of the training text, with add-one smoothing: the baseline to beat."""
    counts: Counter[int] = Counter()
    for ids in tokenizer(list(corpus(settings["seed"], 0, 5000)))["input_ids"]:
        counts.update([*ids[1:], tokenizer.eos_token_id])
    total = sum(counts.values()) + len(tokenizer)
    tokens = [token for sequence in sequences for token in sequence[1:]]
    return -sum(math.log((counts[token] + 1) / total) for token in tokens) / len(tokens)


def learning_rate(step: int, training: Settings) -> float:
    """Linear warm-up, a plateau, then a linear decay to zero over the last `decay_steps`."""
    up = (step + 1) / training["warmup_steps"]
    down = (training["steps"] - step) / training["decay_steps"]
    return float(training["learning_rate"] * min(1.0, up, down))


def make_optimizer(model: LlamaForCausalLM, training: Settings) -> torch.optim.AdamW:
    """AdamW; norms are not decayed."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": training["weight_decay"]},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=training["learning_rate"],
        betas=tuple(training["betas"]),
    )


def train(
    settings: Settings, tokenizer: PreTrainedTokenizerFast, checkpoint: Path
) -> tuple[LlamaForCausalLM, Settings]:
    """Train to the last step, going on from the checkpoint if there is one.

    Returns:
        The model, and the state: step, paragraph, seconds and the training curve.
    """
    training = settings["training"]
    model = build_model(settings, tokenizer)
    optimizer = make_optimizer(model, training)
    state: Settings = {"step": 0, "paragraph": 0, "seconds": 0.0, "curve": []}
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        state = saved["state"]
    forward = torch.compile(model) if training["compile"] else model
    stream = rows(settings, tokenizer, state["paragraph"])
    sequences = held_out(settings, tokenizer)
    last, running = time.perf_counter(), []
    for step in range(state["step"], training["steps"]):
        batch = []
        for _ in range(training["rows"]):
            row, state["paragraph"] = next(stream)
            batch.append(row)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, training)
        ids = torch.tensor(batch)
        with torch.autocast("cpu", torch.bfloat16, enabled=training["bfloat16"]):
            loss = forward(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), training["max_grad_norm"])
        optimizer.step()
        optimizer.zero_grad()
        running.append(float(loss.detach()))
        state["step"] = step + 1
        now = time.perf_counter()
        state["seconds"] += now - last
        last = now
        if state["step"] % settings["evaluation"]["every"] == 0 or state["step"] == training["steps"]:
            point = {
                "step": state["step"],
                "tokens": state["step"] * ids.numel(),
                "loss": round(sum(running) / len(running), 4),
                "held_out_loss": round(evaluate(model, sequences, tokenizer.pad_token_id), 4),
                "seconds": round(state["seconds"], 1),
            }
            running = []
            state["curve"].append(point)
            print(json.dumps(point), flush=True)
        if state["step"] % training["checkpoint_every"] == 0:
            saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "state": state}
            torch.save(saved, checkpoint.with_suffix(".partial"))
            os.replace(checkpoint.with_suffix(".partial"), checkpoint)  # noqa: PTH105
    return model, state


def export(
    settings: Settings,
    tokenizer: PreTrainedTokenizerFast,
    model: LlamaForCausalLM,
    state: Settings,
    output: Path,
) -> None:
    """Write the model folder: weights, tokenizer, configurations, training curve, numbers and model card."""
    output.mkdir(parents=True, exist_ok=True)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
        max_new_tokens=64,
    )
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    # safetensors writes for its owner alone, which an installed package cannot use.
    (output / "model.safetensors").chmod(0o644)
    (output / "training_curve.jsonl").write_text(
        "".join(json.dumps(point) + "\n" for point in state["curve"])
    )
    sequences = held_out(settings, tokenizer)
    numbers = {
        "held_out_loss": round(evaluate(model, sequences, tokenizer.pad_token_id), 4),
        "unigram_loss": round(unigram_loss(settings, tokenizer, sequences), 4),
        "held_out_paragraphs": len(sequences),
        "held_out_tokens": sum(len(sequence) - 1 for sequence in sequences),
        "parameters": model.num_parameters(),
        "training_tokens": state["curve"][-1]["tokens"],
        "training_paragraphs": state["paragraph"],
        "seed": settings["seed"],
        "seconds": round(state["seconds"]),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} thread(s)",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
    }
    (output / "pretraining.json").write_text(json.dumps(numbers, indent=2) + "\n")
    card = Template((HERE / "model_card.md").read_text())
    sample = sample_text(model, tokenizer, "Mara Lindel is a potter from Oslen.")
    values = {**numbers, "settings": yaml.safe_dump(settings, sort_keys=False).strip(), "sample": sample}
    (output / "README.md").write_text(card.substitute({key: str(value) for key, value in values.items()}))


@torch.inference_mode()
def sample_text(model: Any, tokenizer: PreTrainedTokenizerFast, prompt: str) -> str:
    """Continue a prompt greedily, to show in the model card what the model writes."""
    model.eval()
    output = model.generate(**tokenizer(prompt, return_tensors="pt"), max_new_tokens=64)
    return str(tokenizer.decode(output[0], skip_special_tokens=True))


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, default=HERE / "pretrain.yaml")
    parser.add_argument("--output", type=Path, default=HERE.parent / "src" / "amplitune" / "zoo" / "model")
    parser.add_argument(
        "--work", type=Path, default=HERE.parent / "build" / "pretrain", help="checkpoint folder"
    )
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    settings = yaml.safe_load(arguments.settings.read_text())
    torch.set_num_threads(arguments.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(settings)
    model, state = train(settings, tokenizer, arguments.work / "checkpoint.pt")
    export(settings, tokenizer, model, state, arguments.output)


if __name__ == "__main__":
    main()
