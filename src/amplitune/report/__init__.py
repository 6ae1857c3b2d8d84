"""Tables, figures and one self-contained page from stored results."""

from amplitune.report.page import build_report
from amplitune.report.tables import terminal_table

__all__ = ["build_report", "terminal_table"]
