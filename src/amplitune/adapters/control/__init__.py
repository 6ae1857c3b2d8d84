"""CONTROL: adapters without a circuit that QAA is compared with."""
