"""Methods that rotate or scale what goes into a weight or comes out of it."""

from dataclasses import replace

from amplitune.study.survey.entry import Entry

ROTATED = Entry(
    "rotations and scales",
    "",
    time="",
    memory="d_in",
    stores="x; once the rotation",
    mergeable=True,
    nonlinear=False,
    source="",
)

ROTATIONS: dict[str, Entry] = {
    "oft": replace(
        ROTATED,
        mechanism="block-diagonal orthogonal map of the input",
        time="d_in * oft_block_size",
        source="OFT, arXiv 2306.07280",
        each="d_in * (oft_block_size - 1) / 2",
    ),
    "boft": replace(
        ROTATED,
        mechanism="butterfly product of sparse orthogonal maps, and a scale of each output",
        time="d_in ** 2",
        memory="d_in + d_out",
        stores="x, W0 R x; once the rotation",
        source="BOFT, arXiv 2311.06243",
        each="d_in * boft_block_size * boft_n_butterfly_factor + d_out",
    ),
    "hra": replace(
        ROTATED,
        mechanism="r Householder reflections of the input",
        time="0",
        stores="x; once the reflected weight, made anew in each step",
        source="HRA, arXiv 2405.17484",
        each="r * d_in",
    ),
    "road": replace(
        ROTATED,
        mechanism="rotates pairs of outputs and scales them",
        time="2 * d_out",
        memory="2 * d_out",
        stores="W0 x, its pairs turned",
        source="RoAd, arXiv 2409.00119",
        each="variant * d_out",
        names=lambda config, _: {"variant": int(str(config.variant).rsplit("_", 1)[-1])},
        remark="variant: the number in its name",
    ),
    "ia3": replace(
        ROTATED,
        mechanism="scales keys, values and the feed-forward's inner activations",
        time="d_in if 0 < feedforward else d_out",
        memory="d_in if 0 < feedforward else d_out",
        stores="what is scaled",
        source="(IA)³, arXiv 2205.05638",
        each="d_in if 0 < feedforward else d_out",
        names=lambda config, site: {
            "feedforward": int(
                site is not None
                and any(site.name.endswith(name) for name in config.feedforward_modules or ())
            )
        },
    ),
}
