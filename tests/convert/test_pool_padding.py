"""Zeros in front of a pool, which ONNX Runtime would take for the pool's own padding."""

from __future__ import annotations

import numpy as np
import pytest
from rewrite_cases import normal, operators, proto_of

from optimizer.convert.pool_padding import keep_zeros_before_pools
from optimizer.graph.verify import open_proto

PADS = "int64[8] pads = {0, 0, 1, 1, 0, 0, 1, 1}"
LAST = "int64[8] pads = {0, 1, 1, 0, 0, 1, 1, 0}"


@pytest.mark.parametrize("zero", [", zero", ""])
@pytest.mark.parametrize("moved", [False, True])
def test_a_pool_sees_the_zeros(moved: bool, zero: str) -> None:
    shape = "1, 4, 4, 1" if moved else "1, 1, 4, 4"
    turn = "t = Transpose <perm = [0, 3, 1, 2]> (p)" if moved else "t = Identity (p)"
    proto = proto_of(
        f"""g (float[{shape}] x) => (float[1, 1, 2, 2] y) <{LAST if moved else PADS}>
        {{ p = Pad (x, pads{zero}) {turn}
           y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [0, 0, 0, 0]> (t) }}""",
        {"zero": np.zeros((), np.float32)} if zero else {},
    )
    assert keep_zeros_before_pools(proto) == 1
    x = -1 - np.abs(normal(4, 4))
    windows = [np.pad(x, 1)[row : row + 3, column : column + 3] for row in (0, 2) for column in (0, 2)]
    wanted = [window.max() for window in windows]
    given = x.reshape([int(size) for size in shape.split(", ")])
    np.testing.assert_allclose(open_proto(proto).run({"x": given})["y"].ravel(), wanted, rtol=1e-6)


@pytest.mark.parametrize(
    "body",
    [
        "p = Pad (x, pads) y = Conv (p, w)",
        'p = Pad <mode = "edge"> (x, pads) y = MaxPool <kernel_shape = [3, 3]> (p)',
        "p = Pad (x, pads, one) y = MaxPool <kernel_shape = [3, 3]> (p)",
        "p = Pad (x, pads) y = AveragePool <kernel_shape = [3, 3]> (p)",
        "p = Pad (x, pads) n = Neg (p) y = MaxPool <kernel_shape = [3, 3]> (n)",
    ],
)
def test_other_padding_stays(body: str) -> None:
    constants = {"w": normal(1, 1, 3, 3), "one": np.ones((), np.float32)}
    used = {name: value for name, value in constants.items() if f", {name})" in body}
    proto = proto_of(f"g (float[1, 1, 4, 4] x) => (float[1, 1, 4, 4] y) <{PADS}> {{ {body} }}", used)
    before = proto.SerializeToString()
    assert keep_zeros_before_pools(proto) == 0
    assert proto.SerializeToString() == before
    assert operators(proto)[0] == "Pad"


def test_half_precision_keeps_its_type() -> None:
    proto = proto_of(
        f"""g (float16[1, 1, 4, 4] x) => (float16[1, 1, 2, 2] y) <{PADS}>
        {{ p = Pad (x, pads) y = MaxPool <kernel_shape = [3, 3], strides = [2, 2]> (p) }}""",
        {},
    )
    assert keep_zeros_before_pools(proto) == 1
    x = np.full((1, 1, 4, 4), -1, np.float16)
    assert open_proto(proto).run({"x": x})["y"].ravel()[:3].tolist() == [0, 0, 0]
