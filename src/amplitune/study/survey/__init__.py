"""The survey of fine-tuning methods, executable: each method on a model, without its weights."""

from amplitune.study.survey.table import Row, Survey, survey

__all__ = ["Row", "Survey", "survey"]
