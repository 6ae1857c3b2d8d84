"""A report in other forms: Markdown, LaTeX and comma-separated values."""

from amplitune.report.export.formats import EXPORTS, export, write_export

__all__ = ["EXPORTS", "export", "write_export"]
