"""Quantum-amplitude adapters (QAA) and SoRA as ordinary PEFT methods, and a fair comparison of them."""
