"""Executing the runs of a study: their order, their processes, their progress."""
