from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.convert.quantized.weight_steps import find_steps, zero_points


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([16, 256]), st.integers(8, 200), st.integers(0, 10**6))
def test_integers_and_step_come_back(levels: int, size: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    integers = generator.integers(-levels // 2 + 1, levels // 2, (4, size))
    integers[:, 0] = levels // 2 - 1
    integers[:, 1] = 1
    step = generator.uniform(1e-4, 10, (4, 1)).astype(np.float32)
    lowest = np.float32(-levels // 2) * step  # as fake quantization computes it: (q - lowest) * s + lowest
    weights = (integers * step - lowest) + lowest
    found = find_steps(weights.astype(np.float32), levels)
    assert found is not None
    assert (found[0] == integers).all()
    np.testing.assert_allclose(found[1], step[:, 0], rtol=1e-5)
    shifted = found[0] + zero_points(found[0], levels)[:, None]
    assert shifted.min() >= 0
    assert shifted.max() < levels


def test_more_levels_than_there_are_have_no_steps() -> None:
    assert find_steps(np.arange(1, 300, dtype=np.float32)[None], 256) is None
    assert find_steps(np.random.default_rng(0).normal(size=(2, 40)).astype(np.float32), 256) is None
