"""The findings of a study."""

from amplitune.study.statistics.statements import AcrossTasks, Comparison, Estimate, Findings, TaskCheck

__all__ = ["AcrossTasks", "Comparison", "Estimate", "Findings", "TaskCheck"]
