"""The circuit engine: amplitude encoding, ansatz, exact statevector and readout, batched and differentiable."""
