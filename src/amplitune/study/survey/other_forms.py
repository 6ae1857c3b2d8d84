"""Methods whose change of a weight is full-rank in another form: products, spectra, circulants."""

from dataclasses import replace

from amplitune.study.survey.entry import Entry

BUILT = Entry(
    "another form of the change",
    "",
    time="d_in * d_out",
    memory="d_in",
    stores="x; once the built weight",
    mergeable=True,
    nonlinear=False,
    source="",
)
"""peft builds the change as a matrix in each step, then applies it to all tokens."""

OTHER_FORMS: dict[str, Entry] = {
    "loha": replace(
        BUILT,
        mechanism="an elementwise product of two low-rank matrices",
        source="FedPara, arXiv 2108.06098",
        each="2 * r * (d_in + d_out)",
    ),
    "lokr": replace(
        BUILT,
        mechanism="a Kronecker product of two small matrices",
        source="LyCORIS, arXiv 2309.14859",
        each="near_root(d_in) * near_root(d_out) + "
        "(r * (d_in / near_root(d_in) + d_out / near_root(d_out)) "
        "if r < max(d_in / near_root(d_in), d_out / near_root(d_out)) / 2 "
        "else d_in * d_out / (near_root(d_in) * near_root(d_out)))",
        remark="near_root: the largest divisor up to the square root; formula for decompose_both: false",
    ),
    "hira": replace(
        BUILT,
        mechanism="the weight times a low-rank matrix, element by element",
        source="HiRA, ICLR 2025, OpenReview TwJrTz9cRS",
        each="r * (d_in + d_out)",
    ),
    "glora": replace(
        BUILT,
        mechanism="weight, bias and scale, each with a low-rank, vector or scalar change",
        source="One-for-All, arXiv 2306.07967",
        each="2 * r * (d_in + d_out) + bias * (r * (d_in + 1) + 2)",
        remark="formula for the default paths; bias: 1 where the module has one",
    ),
    "peanut": replace(
        BUILT,
        mechanism="a small network that maps W0 to its change",
        source="PEANuT, arXiv 2410.01870",
        each="2 * r * d_out + 2 * depth * r ** 2",
        remark="nonlinear in W0, linear in x",
    ),
    "fourierft": replace(
        BUILT,
        mechanism="trained coefficients at random places of the change's 2-D Fourier spectrum",
        source="Discrete Fourier Transform, arXiv 2405.03003",
        each="n_frequency",
    ),
    "waveft": replace(
        BUILT,
        mechanism="trained coefficients at random places of the change's wavelet transform",
        source="WaveFT, arXiv 2505.12532",
        each="n_frequency",
        remark="formula for proportional_parameters: false",
    ),
    "c3a": replace(
        BUILT,
        mechanism="block-circulant change, applied by Fourier transforms",
        time="d_in·d_out/block_size + (d_in + d_out)·log(block_size)",
        memory="d_in",
        stores="x",
        source="Circular Convolution, arXiv 2407.19342",
        each="d_in * d_out / block_size",
    ),
    "frod": replace(
        BUILT,
        mechanism="W0 in a basis shared by all layers, its scales and a sparse part trained",
        time="d_in ** 2",
        memory="d_in",
        stores="x in the shared basis",
        source="FRoD, arXiv 2512.23485",
        each="d_in + floor(d_in ** 2 * sparse_rate)",
        remark="formula where that share is a whole entry or more",
    ),
}
