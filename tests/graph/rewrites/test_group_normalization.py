"""GroupNormalization as Keras writes it, channels last."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from rewrite_cases import Array, assert_left, assert_same, normal, operators, proto_of, rewritten

from optimizer.graph.rewrites.group_normalization import FUSE_GROUP_NORMALIZATION

STATISTICS = (
    "m = ReduceMean <axes = [AXES]> (r) d = Sub (r, m) q = Mul (d, d) v = ReduceMean <axes = [AXES]> (q)"
    " w = Add (v, epsilon) s = Sqrt (w) i = Reciprocal (s)"
)
SPELLINGS = {
    "Keras 3": "g = Mul (i, gamma) n = Neg (m) b = Mul (n, g) c = Add (b, beta)"
    " a = Mul (r, g) o = Add (a, c)",
    "TensorFlow": "g = Mul (i, gamma) a = Mul (r, g) b = Mul (m, g) c = Sub (beta, b) o = Add (a, c)",
    "centred": "n = Mul (d, i) g = Mul (n, gamma) o = Add (g, beta)",
    "without weights": "o = Mul (d, i)",
    "without beta": "n = Mul (d, i) o = Mul (n, gamma)",
}
SHAPES = {"image": (5, 4), "steps": (9,), "volume": (3, 2, 4)}


def model(
    body: str, spatial: tuple[int, ...], groups: int, width: int, *, free: bool = True
) -> onnx.ModelProto:
    """A normalization of [batch, *spatial, groups * width]."""
    rank = len(spatial) + 3
    axes = ", ".join(str(axis) for axis in (*range(1, rank - 2), rank - 1))
    batch = "batch" if free else "2"
    shape = ", ".join([batch, *map(str, spatial), str(groups * width)])
    weights: dict[str, Array] = {
        "epsilon": np.array(1e-3, np.float32),
        "gamma": normal(*(1,) * (rank - 2), groups, width, seed=1),
        "beta": normal(*(1,) * (rank - 2), groups, width, seed=2),
        "into": np.array([-1, *spatial, groups, width]),
        "back": np.array([-1, *spatial, groups * width]),
        "row": normal(groups, width, seed=3),
    }
    text = f"r = Reshape (x, into) {STATISTICS} {body} y = Reshape (o, back)".replace("AXES", axes)
    used = {name: value for name, value in weights.items() if f"{name})" in text or f"({name}," in text}
    return proto_of(f"g (float[{shape}] x) => (float[{shape}] y) {{ {text} }}", used)


@pytest.mark.parametrize(("groups", "width"), [(4, 2), (1, 8), (8, 1)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_groups_become_instances(spelling: str, shape: str, groups: int, width: int) -> None:
    before = model(SPELLINGS[spelling], SHAPES[shape], groups, width)
    after = rewritten(before, FUSE_GROUP_NORMALIZATION)
    assert "InstanceNormalization" in operators(after)
    assert "ReduceMean" not in operators(after)
    assert_same(before, after, {"x": 1 + normal(3, *SHAPES[shape], groups * width)})


def test_what_follows_may_have_another_shape() -> None:
    before = model(SPELLINGS["Keras 3"], (5, 4), 4, 2)
    before.graph.initializer[[each.name for each in before.graph.initializer].index("back")].CopyFrom(
        onnx.numpy_helper.from_array(np.array([-1, 20, 8]), "back")
    )
    del before.graph.output[0].type.tensor_type.shape.dim[3]
    before.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 20
    before.graph.output[0].type.tensor_type.shape.dim[2].dim_value = 8
    after = rewritten(before, FUSE_GROUP_NORMALIZATION)
    assert_same(before, after, {"x": normal(2, 5, 4, 8)})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("axes = [1, 2, 4]> (r)", "axes = [1, 2, 3, 4]> (r)"),
        ("axes = [1, 2, 4]> (q)", "axes = [1, 2]> (q)"),
        ("axes = [1, 2, 4]", "axes = [1, 4]"),
        ("axes = [1, 2, 4]", "axes = [1, 2, 3]"),
        ("Sub (r, m)", "Add (r, m)"),
        ("Mul (d, d)", "Mul (d, r)"),
        ("Add (v, epsilon)", "Mul (v, epsilon)"),
        ("Reciprocal (s)", "Identity (s)"),
        ("o = Add (g, beta)", "o = Sub (g, beta)"),
        ("y = Reshape (o, back)", "y = Reshape (d, back)"),
        ("r = Reshape (x, into)", "z = Relu (x) p = Reshape (z, into) r = Neg (p)"),
        ("n = Mul (d, i)", "n = Mul (r, i)"),
    ],
)
def test_what_differs_is_left(old: str, new: str) -> None:
    rank = 5
    text = f"r = Reshape (x, into) {STATISTICS} {SPELLINGS['centred']} y = Reshape (o, back)"
    text = text.replace("AXES", "1, 2, 4")
    assert old in text
    weights = {
        "epsilon": np.array(1e-3, np.float32),
        "gamma": normal(*(1,) * (rank - 2), 4, 2),
        "beta": normal(*(1,) * (rank - 2), 4, 2),
        "into": np.array([-1, 5, 4, 4, 2]),
        "back": np.array([-1, 5, 4, 8]),
    }
    text = text.replace(old, new)
    proto = proto_of(f"g (float[batch, 5, 4, 8] x) => (float[batch, 5, 4, 8] y) {{ {text} }}", weights)
    assert_left(proto, FUSE_GROUP_NORMALIZATION)
