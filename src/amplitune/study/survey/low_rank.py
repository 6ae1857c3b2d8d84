"""Methods whose change of a weight is a product of low-rank factors, trained or fixed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from amplitune.study.survey.entry import Entry
from amplitune.study.survey.shapes import Site


def _at_module(config: Any, site: Site | None) -> Mapping[str, float]:
    assert site is not None
    return {"r": config.rank_of(site.name), "groups": site.groups or 1}


def _of_groups(_: Any, sites: Sequence[Site]) -> Mapping[str, str]:
    """Write SoRA's formula for convolutions whose groups have factors of their own."""
    if all(site.groups in (None, 1) for site in sites):
        return {}
    return {
        "each": "r * (d_in + d_out / groups + 1)",
        "remark": "d_in of a convolution is what one of its groups reads of a patch",
    }


LORA = Entry(
    "low rank",
    "adds s·B A x with two trained factors",
    time="r * (d_in + d_out)",
    memory="d_in + r",
    stores="x, A x",
    mergeable=True,
    nonlinear=False,
    source="LoRA, arXiv 2106.09685",
    each="r * (d_in + d_out)",
)

LOW_RANK: dict[str, Entry] = {
    "lora": LORA,
    "sora": replace(
        LORA,
        mechanism="LoRA with a gate on each rank, driven to zero by a proximal step",
        memory="d_in + 2 * r",
        stores="x, A x, g·A x",
        source="SoRA, arXiv 2311.11696",
        each="r * (d_in + d_out + 1)",
        names=_at_module,
        settings=_of_groups,
    ),
    "adalora": replace(
        LORA,
        mechanism="B diag(E) A, ranks pruned by importance to a budget",
        time="init_r * (d_in + d_out)",
        memory="d_in + init_r",
        stores="x, E A x; once E A",
        source="Adaptive Budget Allocation, arXiv 2303.10512",
        each="init_r * (d_in + d_out + 1)",
    ),
    "adamss": replace(
        LORA,
        mechanism="small updates inside clusters of the weight's principal subspace",
        time="r * (d_in + bias) + subspace_rank * (num_subspaces * r + d_out)",
        memory="r + subspace_rank * num_subspaces",
        stores="x in the fixed basis, and in each subspace",
        source="AdaMSS, NeurIPS 2025, OpenReview 8ZdWmpYxT0",
        each="subspace_rank * (num_subspaces * min(r, d_out, d_in + bias) + d_out)",
        remark="formula for as many clusters as num_subspaces asks for",
    ),
    "deft": replace(
        LORA,
        mechanism="removes a low-rank subspace of W0 x, injects R x into it",
        time="r * (d_in + 3 * d_out)",
        memory="d_in + d_out + 2 * r",
        stores="x, W0 x, its projection, R x",
        source="DEFT, NeurIPS 2025",
    ),
    "delora": replace(
        LORA,
        mechanism="LoRA with each rank normalised, one trained strength",
        memory="d_in + 2 * r",
        stores="x, A x, its scaled form",
        source="DeLoRA, arXiv 2503.18225",
        each="r * (d_in + d_out) + 1",
    ),
    "gralora": replace(
        LORA,
        mechanism="a grid of gralora_k² blocks of the weight, each with a LoRA of its own",
        memory="d_in + gralora_k * r",
        stores="x, A x of each block",
        source="GraLoRA, arXiv 2505.20355",
    ),
    "miss": replace(
        LORA,
        mechanism="sums x over shards, then one trained matrix",
        time="r * d_out",
        memory="r",
        stores="x summed over shards",
        source="MiSS, arXiv 2409.15371",
        each="r * d_out",
    ),
    "poly": replace(
        LORA,
        mechanism="a mixture of LoRAs, mixed by a trained router for each task",
        memory="d_in + r",
        stores="x, A x; for each example its mixed factors",
        mergeable=False,
        source="Polytropon, arXiv 2202.13914",
        each="n_skills * r * (d_in + d_out) + n_tasks * n_splits * n_skills",
        remark="needs task ids; peft has no merge",
    ),
    "vera": replace(
        LORA,
        mechanism="fixed random factors shared by all modules, trained scales",
        memory="r + d_out",
        stores="A x, B (d·A x)",
        source="VeRA, arXiv 2310.11454",
        each="d_out + r",
    ),
    "pvera": replace(
        LORA,
        mechanism="VeRA with scales drawn from a learned distribution",
        time="r * (2 * d_in + d_out)",
        memory="4 * r + d_out",
        stores="mean and deviation of A x, the noise, the draw, B (d·A x)",
        source="PVeRA, arXiv 2512.07703",
        each="d_out + 2 * r",
        remark="while training the draw adds noise; evaluated, the mean is used",
    ),
    "randlora": replace(
        LORA,
        mechanism="a full-rank sum of fixed random factors with trained scales",
        time="min(d_in, d_out) * (d_in + d_out)",
        memory="min(d_in, d_out)",
        stores="x in the random bases; once the scaled bases",
        source="RandLoRA, arXiv 2502.00987",
        each="ceil(min(d_in, d_out) / r) * (r + min(d_in, d_out))",
    ),
    "tinylora": replace(
        LORA,
        mechanism="a trained vector of u numbers, mapped at random into the singular basis of W0",
        time="r * (d_in + d_out) + r ** 2",
        memory="r",
        stores="x in the singular basis; once an r × r matrix",
        source="Learning to Reason in 13 Parameters, arXiv 2602.04118",
        once="u * max(1, round(modules * (1 - weight_tying)))",
    ),
    "unilora": replace(
        LORA,
        mechanism="one trained vector, spread at random over the factors of all modules",
        source="Uni-LoRA, arXiv 2506.00799",
        once="theta_d_length",
        each="",
    ),
    "vblora": replace(
        LORA,
        mechanism="factors made of a shared bank's vectors, trained logits choose the best k",
        stores="x, A x; once the composed factors",
        source="VB-LoRA, arXiv 2405.15179",
        each="r * num_vectors * (d_in + d_out) / vector_length",
        once="num_vectors * vector_length",
    ),
    "psoft": replace(
        LORA,
        mechanism="an orthogonal r × r map in the principal subspace of W0",
        time="r * (d_in + d_out) + r ** 2",
        memory="r",
        stores="x in the principal subspace; once the r × r map",
        source="PSOFT, arXiv 2505.11235",
        each="r * (r - 1) / 2 + r * (psoft_mag_a + psoft_mag_b)",
    ),
    "xlora": replace(
        LORA,
        mechanism="mixes trained LoRAs, each layer and token by a small network on the hidden state",
        time="k·r·(d_in + d_out) (k adapters), a second pass of the model",
        memory="k·(d_in + r)",
        stores="x, A x of each adapter; activations of the network",
        mergeable=False,
        nonlinear=True,
        source="X-LoRA, arXiv 2402.07148",
        each="",
        remark="needs LoRA adapters that are trained already",
    ),
}
LOW_RANK["tinylora"] = replace(LOW_RANK["tinylora"], each="")
