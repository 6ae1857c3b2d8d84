"""The random tensors of controls that stay fixed, drawn from a seed for each module by its name."""

import hashlib

import torch
from torch import Tensor


def generator_for(seed: int, module_name: str) -> torch.Generator:
    """Make the generator of one module's fixed tensors.

    They are drawn again wherever an adapter is made or loaded, as VeRA's are without `save_projection`, so an
    adapter's file holds what was learned only. A CPU generator gives the same numbers on every device; a test
    pins them, because torch does not promise them from one release to the next.

    Args:
        seed: the config's `projection_seed`.
        module_name: the module's name in the base model, so that no two modules share a projection.

    Returns:
        A generator on the CPU.
    """
    digest = hashlib.sha256(f"{seed}:{module_name}".encode()).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest[:7], "big"))


def orthonormal_rows(rows: int, features: int, generator: torch.Generator) -> Tensor:
    """Draw a projection with orthonormal rows, uniformly among all of them.

    More rows than features cannot be orthonormal: they come in independent blocks of `features` rows, each
    orthonormal in itself.

    Args:
        rows: number of rows.
        features: their width.
        generator: a generator on the CPU.

    Returns:
        Shape (rows, features), float64, on the CPU.

    Source:
        Mezzadri, "How to generate random matrices from the classical compact groups", Notices of the AMS
        54, 2007: QR of a Gaussian matrix is uniform once the diagonal of R is positive.

    Example:
        >>> p = orthonormal_rows(2, 5, torch.Generator().manual_seed(0))
        >>> torch.allclose(p @ p.T, torch.eye(2, dtype=torch.float64))
        True
    """
    blocks = []
    for start in range(0, rows, features):
        columns = min(features, rows - start)
        gaussian = torch.randn(features, columns, dtype=torch.float64, device="cpu", generator=generator)
        q, r = torch.linalg.qr(gaussian)
        blocks.append((q * r.diagonal().sign()).T)
    return torch.cat(blocks)


def random_orders(count: int, amplitudes: int, generator: torch.Generator) -> Tensor:
    """Draw orders of amplitudes, uniformly among all permutations.

    Args:
        count: number of orders.
        amplitudes: number of amplitudes.
        generator: a generator on the CPU.

    Returns:
        Indices, shape (count, amplitudes), int64, on the CPU.
    """
    return torch.stack([torch.randperm(amplitudes, device="cpu", generator=generator) for _ in range(count)])


def balanced_signs(rows: int, amplitudes: int, generator: torch.Generator) -> Tensor:
    """Draw signs, +1 on half of the amplitudes and -1 on the others, as a Pauli word's eigenvalues are.

    Args:
        rows: number of rows.
        amplitudes: number of amplitudes, even.
        generator: a generator on the CPU.

    Returns:
        Shape (rows, amplitudes), float64, on the CPU.
    """
    return 1.0 - 2.0 * (random_orders(rows, amplitudes, generator) < amplitudes // 2).to(torch.float64)
