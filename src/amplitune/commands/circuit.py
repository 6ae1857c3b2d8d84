"""The commands `amplitune circuit ...` about the circuit of a config or of a trained adapter."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from amplitune.errors import ConfigError, near_matches

if TYPE_CHECKING:
    from torch import Tensor

    from amplitune.commands.circuit_source import CircuitSource

# Each command imports what it alone needs.

app = typer.Typer(
    help="Draw, export, measure and count the circuit of a config or of a trained adapter.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Source = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SOURCE] [key=value ...]",
        help="an adapter's folder; or a YAML or JSON file of circuit fields, and fields that override it; or "
        "fields alone: n_qubits=4 rotation=RYRZ entangler='[[0, 1], [2, 3]]'",
    ),
]
Module = Annotated[str | None, typer.Option("--module", help="module of the adapter, or the end of its name")]
Features = Annotated[
    int | None,
    typer.Option("--features", min=1, help="width of the encoded rows; gives n_qubits where it is not named"),
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON on standard output")]

#: What a circuit is exported to.
TARGETS = ("openqasm3", "qiskit", "pennylane")


@app.command()
def draw(
    source: Source = None,
    module: Module = None,
    features: Features = None,
    width: Annotated[
        int | None, typer.Option(help="characters per line; the terminal's width if left out")
    ] = None,
) -> None:
    """Draw the circuit as text, one line per wire; with its angles if one module is meant."""
    from amplitune.commands.circuit_source import find_circuit
    from amplitune.quantum.drawing import NARROWEST
    from amplitune.quantum.drawing import draw as drawing

    found = find_circuit(source or [], module, features)
    if width is None:
        width = max(NARROWEST, shutil.get_terminal_size((100, 24)).columns)
    typer.echo(drawing(found.circuit, found.angles, width))
    if len(found.modules) > 1:
        typer.echo(f"{_shared(found)}; --module NAME draws one with its angles.", err=True)


@app.command()
def export(
    source: Source = None,
    to: Annotated[str, typer.Option(help=f"one of {', '.join(TARGETS)}")] = "",
    module: Module = None,
    features: Features = None,
    row: Annotated[
        Path | None,
        typer.Option(
            "--input", help="one row (JSON list or .npy) whose state is prepared; left out, none is prepared"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="seed of the angles of a circuit that has none")] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="file; several OpenQASM programs get numbers before the suffix"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="overwrite files")] = False,
) -> None:
    """Write the circuit as OpenQASM 3, or as a Python script for Qiskit or PennyLane.

    A script holds all circuits and measurement bases. An OpenQASM program is one circuit in one basis; if
    there are several, they are numbered FILE-circuit-0-basis-0 and so on.
    """
    from amplitune.commands.circuit_source import find_circuit, read_row

    if to not in TARGETS:
        found = f"is {to!r}. {near_matches(to, TARGETS)}" if to else "is missing. Name one of these."
        raise ConfigError(f"`--to` must be one of {', '.join(map(repr, TARGETS))}, but {found}")
    meant = find_circuit(source or [], module, features, one_module=True).with_angles(seed)
    x = None if row is None else read_row(row)
    texts = _exported(meant, to, x)
    if output is None and len(texts) > 1:
        raise ConfigError(
            f"`--output` must be given for {len(texts)} programs, one per circuit and measurement basis, but "
            "is missing. Name a file; the numbers of circuit and basis are put before its suffix."
        )
    if output is None:
        typer.echo(texts[""], nl=False)
        return
    if output.is_dir():
        raise ConfigError(f"`--output` must be a file, but {output} is a folder. Name a file in it.")
    files = {output.with_stem(output.stem + name): text for name, text in texts.items()}
    _write(files, force)
    for path in files:
        typer.echo(str(path))


@app.command()
def resources(
    source: Source = None,
    module: Module = None,
    features: Features = None,
    tokens: Annotated[int, typer.Option(help="tokens per training step")] = 2048,
    precision: Annotated[float, typer.Option(help="wanted error of each expectation value")] = 0.01,
    confidence: Annotated[
        float, typer.Option(help="probability that all values of a circuit on a token are that precise")
    ] = 0.99,
    basis: Annotated[str, typer.Option(help="native gates: ibm-heron, ibm-eagle, ion, cnot")] = "ibm-heron",
    as_json: AsJson = False,
) -> None:
    """Count what the circuit takes on a device: qubits, gates, state preparation, evaluations, shots."""
    from amplitune.commands.circuit_source import find_circuit
    from amplitune.quantum.resources import resources as counted

    found = find_circuit(source or [], module, features)
    counts = counted(
        found.circuit,
        features,
        angles=None if found.angles is None else found.angles[0],
        circuits=found.circuits,
        modules=max(1, len(found.modules)),
        tokens=tokens,
        precision=precision,
        confidence=confidence,
        basis=basis,
    )
    if as_json:
        typer.echo(
            json.dumps(
                {"source": found.title, "circuit": found.circuit.to_dict()} | counts.to_dict(), indent=2
            )
        )
    else:
        typer.echo(counts.text())
        if len(found.modules) > 1:
            typer.echo(f"{_shared(found)}; --module NAME counts one.", err=True)


@app.command()
def capacity(
    source: Source = None,
    module: Module = None,
    features: Features = None,
    rows: Annotated[
        Path | None,
        typer.Option(
            "--input",
            help="rows of the layer's input (.npy or JSON), for example hidden states; left out, |0...0>",
        ),
    ] = None,
    draws: Annotated[int, typer.Option(help="random sets of angles")] = 500,
    seed: Annotated[int, typer.Option(help="seed of the random angles")] = 0,
    as_json: AsJson = False,
) -> None:
    """Measure the circuit over random angles: expressibility, entanglement, gradients, Fisher, rank."""
    from amplitune.commands.circuit_source import find_circuit, read_rows
    from amplitune.quantum.capacity import capacity_report

    found = find_circuit(source or [], module, features)
    inputs = None if rows is None else read_rows(rows)
    measures = capacity_report(found.circuit, draws=draws, inputs=inputs, seed=seed)
    if as_json:
        typer.echo(json.dumps({"source": found.title} | measures.to_dict(), indent=2))
    else:
        typer.echo(measures.text())
        if len(found.modules) > 1:
            typer.echo(f"{_shared(found)}.", err=True)


def _shared(found: "CircuitSource") -> str:
    return f"The {len(found.modules)} modules of the adapter share this circuit: {', '.join(found.modules)}"


def _exported(meant: "CircuitSource", to: str, x: "Tensor | None") -> dict[str, str]:
    """The texts by what is put before their file's suffix."""
    from amplitune.quantum.bases import bases_of
    from amplitune.quantum.export import script, to_openqasm3

    assert meant.angles is not None
    title = f"Circuit of {meant.title}."
    if to != "openqasm3":
        return {"": script(meant.circuit, meant.angles, x, to=to, title=title)}
    texts = {}
    bases = len(bases_of(meant.circuit))
    for number, angles in enumerate(meant.angles):
        for basis in range(bases):
            name = f"-circuit-{number}" * (meant.circuits > 1) + f"-basis-{basis}" * (bases > 1)
            # Comments may stand before the version; a path may hold anything.
            comment = "// " + " ".join(title.split())
            texts[name] = f"{comment}\n{to_openqasm3(meant.circuit, angles, x, basis=basis)}"
    return texts


def _write(files: dict[Path, str], force: bool) -> None:
    """Write files, none of them over another unless forced."""
    from amplitune.study.atomic import write_atomically

    for path in files:
        if path.exists() and not force:
            raise ConfigError(
                f"`--output` must be a new file, but {path} exists. Name another, or use --force to "
                "overwrite it."
            )
    for path, text in files.items():
        try:
            write_atomically(path, text)
        except OSError as error:
            raise ConfigError(
                f"`--output` must be a place to write to, but {path} is not: {error}."
            ) from error
