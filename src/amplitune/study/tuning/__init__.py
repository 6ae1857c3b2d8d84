"""Tuning every method of a study on validation, with the same number of trials and of steps for each."""
