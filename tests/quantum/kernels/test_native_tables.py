"""The native kernel's tables: folding sums every mask, in little memory."""

import pytest
import torch
from torch import Tensor

from amplitune.quantum import Circuit
from amplitune.quantum.kernels.native_tables import folding, groups
from amplitune.quantum.program import program_of


def signs_of(mask: int, size: int) -> Tensor:
    return torch.tensor([(-1.0) ** (index & mask).bit_count() for index in range(size)], dtype=torch.float64)


@pytest.mark.parametrize(
    ("bits", "lane_bits", "widest"), [(4, 4, 4), (5, 1, 3), (7, 2, 2), (8, 0, 3), (9, 3, 4)]
)
def test_folding_steps_sum_every_mask(bits: int, lane_bits: int, widest: int) -> None:
    generator = torch.Generator().manual_seed(bits)
    masks = [*torch.randint(0, 2**bits, (9,), generator=generator).tolist(), 0]
    steps, places, work, leaves = folding(masks, bits, lane_bits, widest)
    state = torch.randn(2 ** (bits - lane_bits), 2**lane_bits, generator=generator, dtype=torch.float64)
    memory = torch.full((work, 2**lane_bits), torch.nan, dtype=torch.float64)
    for wires, length, source, destination, wanted in steps:
        origin = state if source < 0 else memory[source:]
        pieces = origin[: length << wires].view(2**wires, length, -1).clone()
        for pattern in (pattern for pattern in range(2**wires) if wanted >> pattern & 1):
            signed = signs_of(pattern, 2**wires)[:, None, None] * pieces
            memory[destination : destination + length] = signed.sum(0)
            destination += length
    for mask, place in zip(masks, places, strict=True):
        leaf, lane_mask = divmod(place, 2**lane_bits)
        assert leaf < leaves
        made = (memory[leaf] * signs_of(lane_mask, 2**lane_bits)).sum()
        torch.testing.assert_close(made, (state.flatten() * signs_of(mask, 2**bits)).sum())


def test_a_ring_is_folded_in_little_memory() -> None:
    program = program_of(Circuit(11))
    steps, _, work, _ = folding([*(word.z for word in program.words), 0], 11, 4, 4)
    written = sum(length * wanted.bit_count() for _, length, _, _, wanted in steps)
    assert written == work
    assert written < 2**7


def test_groups_are_even_and_complete() -> None:
    cases = [(wires, widest) for wires in range(13) for widest in (1, 2, 3, 4)]
    for wires, widest in cases:
        sizes = groups(wires, widest)
        assert sum(sizes) == wires
        assert max(sizes) <= widest
        assert max(sizes) - min(sizes) <= 1
    assert len(cases) == 52
