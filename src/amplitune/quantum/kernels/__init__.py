"""Kernels: ways to run a program forward and backward, and the rule that chooses one."""
