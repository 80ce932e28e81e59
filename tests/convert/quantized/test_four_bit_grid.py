from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.convert.quantized.four_bit_grid import Grid, find_grid


def values(grid: Grid, rows: int) -> Any:
    """The weights that a grid stands for."""
    steps = grid.integers.astype(np.float32) - grid.zero_points[..., None]
    return (steps * grid.scales[..., None]).reshape(len(grid.integers), -1)[:, :rows].T


def weights(rows: int, block: int, seed: int, *, columns: int = 6) -> Any:
    """s * (q - z) with random parts, one s and z for each block of a column."""
    generator = np.random.default_rng(seed)
    blocks = -(-rows // block)
    q = generator.integers(0, 16, (rows, columns)).astype(np.float32)
    z = generator.integers(0, 16, (blocks, columns)).astype(np.float32)
    s = generator.uniform(0.001, 3.0, (blocks, columns)).astype(np.float32)
    return (q - z.repeat(block, 0)[:rows]) * s.repeat(block, 0)[:rows]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.sampled_from([16, 32, 64, 128]), st.integers(0, 10**6))
def test_weights_of_four_bits_come_back_up_to_the_last_bit(rows: int, block: int, seed: int) -> None:
    expected = weights(rows, block, seed)
    found = find_grid(expected)
    assert found is not None
    assert found.integers.max() <= 15
    assert found.zero_points.max() <= 15
    np.testing.assert_allclose(values(found, rows), expected, rtol=3e-7)


def test_the_largest_block_that_fits_is_found() -> None:
    found = find_grid(weights(256, 64, 0))
    assert found is not None
    assert found.integers.shape == (6, 4, 64)
    whole = find_grid(weights(40, 64, 0))  # one block would be 128 long for 40 rows
    assert whole is not None
    assert whole.integers.shape == (6, 1, 64)


@pytest.mark.parametrize("changed", [1e-5, 1e-3])
def test_one_weight_beside_its_grid_means_float(changed: float) -> None:
    given_weights = weights(128, 16, 0)
    given_weights[77, 3] *= 1 + changed
    assert find_grid(given_weights) is None


def test_float_weights_have_no_grid() -> None:
    assert find_grid(np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)) is None
    assert find_grid(np.arange(64, dtype=np.float32).reshape(32, 2)) is None  # 32 levels


def test_zeros_have_one() -> None:
    found = find_grid(np.zeros((16, 2), np.float32))
    assert found is not None
    assert not values(found, 16).any()
