"""peft's own parametrised test suites, run on the configs of amplitune: `python -m conformance`."""
