"""A report as Markdown with tables of pipes."""

import re

from amplitune.report.export.document import Document, Part, Table

MARK = "<!-- amplitune report -->"
"""The first line of an export, by which a later one knows it as its own."""


def to_markdown(document: Document) -> str:
    """Write a document as Markdown; what could be read as markup is escaped."""
    lines = [MARK, f"# {escape(document.title)}", ""]
    if document.description:
        lines += [_line(document.description), ""]
    for part in document.parts:
        lines += _part(part)
    return "\n".join(lines).rstrip() + "\n"


def escape(text: str) -> str:
    r"""Escape what Markdown would read as markup, and fold lines into one.

    Example:
        >>> print(escape("a_b | *c* <script>"))
        a\_b \| \*c\* &lt;script&gt;
    """
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", text)


def _line(text: str) -> str:
    """Escape a text that begins a line, where some signs begin a heading, a list or a rule."""
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", re.sub(r"^([#+=-])", r"\\\1", escape(text)))


def _part(part: Part) -> list[str]:
    lines = [f"## {escape(part.heading)}", ""]
    for paragraph in part.paragraphs:
        lines += [_line(paragraph), ""]
    if part.items:
        lines += [*(f"- {_line(item)}" for item in part.items), ""]
    for table in part.tables:
        lines += _table(table)
    return lines


def _table(table: Table) -> list[str]:
    rule = ["--:" if right else ":--" for right in table.right]
    rows = [table.headers, *table.rows]
    written = [f"| {' | '.join(escape(cell) for cell in row)} |" for row in rows]
    return [f"**{escape(table.caption)}**", "", written[0], f"| {' | '.join(rule)} |", *written[1:], ""]
