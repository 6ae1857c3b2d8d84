"""Methods that train what the model reads in front of its input."""

from dataclasses import replace

from amplitune.study.survey.entry import Entry

PROMPT = Entry(
    "soft prompts",
    "n trained embeddings in front of the input",
    time="n keys more in attention: n·d a layer; n tokens more a sequence",
    memory="heads·n a layer",
    stores="attention to the n keys; all activations of n tokens more a sequence",
    mergeable=False,
    nonlinear=True,
    source="The Power of Scale, arXiv 2104.08691",
    once="num_virtual_tokens * d",
)
KEYS = replace(
    PROMPT,
    time="n keys more in attention: n·d a layer",
    stores="attention to the n keys",
)
"""Keys and values alone: no token more passes through the layers."""

SOFT_PROMPTS: dict[str, Entry] = {
    "prompt_tuning": PROMPT,
    "p_tuning": replace(
        PROMPT,
        mechanism="embeddings in front of the input, made by a trained network",
        source="GPT Understands, Too, arXiv 2103.10385",
        once="num_virtual_tokens * d + 2 * h * d + h ** 2 + 2 * h + d",
        names=lambda config, _: {"h": config.encoder_hidden_size or config.token_dim},
        remark="h: encoder_hidden_size; formula for the MLP encoder of two hidden layers",
    ),
    "multitask_prompt_tuning": replace(
        PROMPT,
        mechanism="a prompt shared by tasks, times a low-rank matrix for each",
        source="Multitask Prompt Tuning, arXiv 2303.02861",
        once="num_virtual_tokens * d + num_tasks * num_ranks * (num_virtual_tokens + d)",
        remark="needs task ids",
    ),
    "cpt": replace(
        PROMPT,
        mechanism="trained changes of the embeddings of chosen context tokens",
        source="Context-aware Prompt Tuning, arXiv 2410.17222",
    ),
    "prefix": replace(
        KEYS,
        mechanism="n trained keys and values in each layer",
        source="Prefix-Tuning, arXiv 2101.00190",
        once="num_virtual_tokens * 2 * layers * kv",
        remark="formula for prefix_projection: false",
    ),
    "cartridge": replace(
        KEYS,
        mechanism="a trained key-value cache, its first tokens frozen",
        source="Cartridges, arXiv 2506.06266",
        once="(num_virtual_tokens - num_frozen_tokens) * 2 * layers * kv",
    ),
    "adaption_prompt": replace(
        KEYS,
        mechanism="a prompt in the upper layers' attention, behind a gate that starts at zero",
        source="LLaMA-Adapter, arXiv 2303.16199",
        once="adapter_layers * (adapter_len * d + 1)",
    ),
}
