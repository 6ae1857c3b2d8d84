"""A report as LaTeX with booktabs tables, to be read into a document."""

from amplitune.report.export.document import Document, Part, Table

MARK = "% amplitune report"
"""The first line of an export, by which a later one knows it as its own."""

NEEDS = r"% In the preamble: \usepackage[T1]{fontenc} \usepackage{booktabs,graphicx}"

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "†": r"\dag{}",
    "µ": r"$\mu$",
    "…": r"\dots{}",
    "·": r"\textperiodcentered{}",
}


def to_latex(document: Document) -> str:
    """Write a document as LaTeX: sections, lists, and a table float for each table."""
    lines = [MARK, NEEDS, rf"\section{{{escape(document.title)}}}", ""]
    if document.description:
        lines += [escape(document.description), ""]
    for part in document.parts:
        lines += _part(part)
    return "\n".join(lines).rstrip() + "\n"


def escape(text: str) -> str:
    r"""Escape what LaTeX would read as a command, and fold lines into one.

    Example:
        >>> print(escape("5 % of a_b, −0.3 ↑"))
        5 \% of a\_b, $-$0.3 $\uparrow$
    """
    return "".join(_ESCAPES.get(letter, letter) for letter in " ".join(text.split()))


def _part(part: Part) -> list[str]:
    lines = [rf"\subsection{{{escape(part.heading)}}}", ""]
    for paragraph in part.paragraphs:
        lines += [escape(paragraph), ""]
    if part.items:
        items = [rf"  \item {escape(item)}" for item in part.items]
        lines += [r"\begin{itemize}", *items, r"\end{itemize}", ""]
    for table in part.tables:
        lines += _table(table)
    return lines


def _table(table: Table) -> list[str]:
    columns = "".join("r" if right else "l" for right in table.right)
    return [
        r"\begin{table}[htbp]",
        r"  \centering",
        rf"  \caption{{{escape(table.caption)}}}",
        # Shrunk where it is wider than the page, never stretched.
        r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"  \begin{{tabular}}{{{columns}}}",
        r"    \toprule",
        f"    {_row(table.headers)}",
        r"    \midrule",
        *(f"    {_row(row)}" for row in table.rows),
        r"    \bottomrule",
        r"  \end{tabular}}",
        r"\end{table}",
        "",
    ]


def _row(cells: tuple[str, ...]) -> str:
    written = [escape(cell) for cell in cells]
    if written and written[0].startswith("["):
        written[0] = f"{{}}{written[0]}"  # an optional argument of the row break before it otherwise
    return rf"{' & '.join(written)} \\"
