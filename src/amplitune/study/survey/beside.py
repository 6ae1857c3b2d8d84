"""Methods that put small modules beside the model's own."""

from amplitune.study.survey.entry import Entry

BESIDE: dict[str, Entry] = {
    "lily": Entry(
        "modules beside",
        "a factor A for each layer, B's shared by all layers and mixed by a router",
        time="r * (d_in + d_out + num_B)",
        memory="d_in + r + num_B",
        stores="x, A x, the router's weights; once the mixed B",
        mergeable=False,
        nonlinear=True,
        source="Lily, arXiv 2407.09946",
        each="num_B * r",
        kind="ceil(count / stride_A) * r * d_in + num_B * r * d_out",
        remark="the router's mean over the batch mixes, so an answer depends on its batch",
    ),
    "shadow": Entry(
        "modules beside",
        "a small transformer beside the model, corrected and corrected by every layer",
        time="r·d a layer, and the small transformer",
        memory="d + r a layer",
        stores="the state of the small transformer at each layer, its activations",
        mergeable=False,
        nonlinear=True,
        source="ShadowPEFT, arXiv 2604.19254",
    ),
}
