"""One run: load, adapt, train, evaluate, keep."""
