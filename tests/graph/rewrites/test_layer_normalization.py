"""LayerNormalization in every spelling, and what looks like it but is not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from rewrite_cases import Array, assert_left, assert_same, normal, operators, proto_of, rewritten

from optimizer.graph.rewrites.layer_normalization import (
    FUSE_LAYER_NORMALIZATION,
    FUSE_LAYER_NORMALIZATION_OF_ROWS,
)

VARIANCE = (
    "m = ReduceMean <axes = [AXIS]> (x) d = Sub (x, m) q = Mul (d, d) v = ReduceMean <axes = [AXIS]> (q)"
)
POWER = (
    "m = ReduceMean <axes = [AXIS]> (x) d = Sub (x, m) q = Pow (d, two) v = ReduceMean <axes = [AXIS]> (q)"
)
INVERSES = {
    "reciprocal": "w = Add (v, epsilon) s = Sqrt (w) i = Reciprocal (s)",
    "division": "w = Add (epsilon, v) s = Sqrt (w) i = Div (one, s)",
    "power": "w = Add (v, epsilon) i = Pow (w, minus_half)",
}
SPELLINGS = {
    "TensorFlow": "g = Mul (i, gamma) a = Mul (x, g) b = Mul (m, g) c = Sub (beta, b) y = Add (a, c)",
    "TensorFlow without beta": "g = Mul (i, gamma) a = Mul (x, g) n = Neg (m) b = Mul (n, g) y = Add (a, b)",
    "Keras 3": "g = Mul (i, gamma) n = Neg (m) b = Mul (n, g) "
    "a = Mul (x, g) c = Add (a, b) y = Add (c, beta)",
    "centred": "n = Mul (d, i) g = Mul (n, gamma) y = Add (g, beta)",
    "centred, gamma first": "g = Mul (i, gamma) n = Mul (d, g) y = Add (n, beta)",
    "without weights": "y = Mul (d, i)",
}
DIVIDED = "w = Add (v, epsilon) s = Sqrt (w) n = Div (d, s) g = Mul (n, gamma) y = Add (g, beta)"


def model(
    body: str,
    axis: int = -1,
    shape: str = "batch, 3, 6",
    opset: int = 17,
    other: Mapping[str, Array] | None = None,
) -> onnx.ModelProto:
    weights: Mapping[str, Array] = {
        "epsilon": np.array(1e-3, np.float32),
        "one": np.array(1, np.float32),
        "two": np.array(2, np.float32),
        "minus_half": np.array(-0.5, np.float32),
        "gamma": normal(6, seed=1),
        "beta": normal(6, seed=2),
        **(other or {}),
    }
    used = {name: value for name, value in weights.items() if name in body}
    text = body.replace("AXIS", str(axis))
    return proto_of(f"g (float[{shape}] x) => (float[{shape}] y) {{ {text} }}", used, opset)


@pytest.mark.parametrize("variance", [VARIANCE, POWER], ids=["product", "power"])
@pytest.mark.parametrize("inverse", INVERSES)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_becomes_one_operator(spelling: str, inverse: str, variance: str) -> None:
    before = model(f"{variance} {INVERSES[inverse]} {SPELLINGS[spelling]}")
    after = rewritten(before, FUSE_LAYER_NORMALIZATION)
    assert operators(after) == ["LayerNormalization"]
    assert_same(before, after, {"x": 3 + normal(4, 3, 6)})


@pytest.mark.parametrize("variance", [VARIANCE, POWER], ids=["product", "power"])
def test_pytorchs_division_becomes_one_operator(variance: str) -> None:
    before = model(f"{variance} {DIVIDED}")
    after = rewritten(before, FUSE_LAYER_NORMALIZATION)
    assert operators(after) == ["LayerNormalization"]
    assert_same(before, after, {"x": normal(2, 3, 6)})


@pytest.mark.parametrize("shape", ["batch, 6", "2, batch, 3, 6"])
@pytest.mark.parametrize("opset", [13, 17])
def test_any_rank_and_operator_set(shape: str, opset: int) -> None:
    before = model(f"{VARIANCE} {INVERSES['reciprocal']} {SPELLINGS['TensorFlow']}", -1, shape, opset)
    after = rewritten(before, FUSE_LAYER_NORMALIZATION)
    sizes = [2 if part == "batch" else int(part) for part in shape.split(", ")]
    assert_same(before, after, {"x": normal(*sizes)})


@pytest.mark.parametrize(("axis", "gamma"), [(1, (3, 1)), (1, (1, 3, 1)), (-2, (3, 1))])
@pytest.mark.parametrize("inverse", INVERSES)
def test_another_axis_is_normalized_as_the_last(axis: int, gamma: tuple[int, ...], inverse: str) -> None:
    weights = {"gamma": normal(*gamma, seed=1), "beta": normal(*gamma, seed=2)}
    before = model(f"{VARIANCE} {INVERSES[inverse]} {SPELLINGS['TensorFlow']}", axis, other=weights)
    after = rewritten(before, FUSE_LAYER_NORMALIZATION)
    assert operators(after) == ["Transpose", "LayerNormalization", "Transpose"]
    assert_same(before, after, {"x": normal(2, 3, 6)})


@pytest.mark.parametrize(("axis", "gamma"), [(1, (3, 1, 1)), (2, (5, 1))])
def test_an_axis_of_four_comes_back_to_its_place(axis: int, gamma: tuple[int, ...]) -> None:
    weights = {"gamma": normal(*gamma, seed=1), "beta": normal(*gamma, seed=2)}
    body = f"{VARIANCE} {INVERSES['reciprocal']} {SPELLINGS['TensorFlow']}"
    before = model(body, axis, "batch, 3, 5, 6", other=weights)
    after = rewritten(before, FUSE_LAYER_NORMALIZATION)
    assert operators(after) == ["Transpose", "LayerNormalization", "Transpose"]
    assert_same(before, after, {"x": normal(2, 3, 5, 6)})


@pytest.mark.parametrize("inverse", INVERSES)
def test_another_axis_of_many_elements_takes_fewer_passes(inverse: str) -> None:
    weights = {"gamma": normal(160, 1, seed=1), "beta": normal(160, 1, seed=2)}
    body = f"{VARIANCE} {INVERSES[inverse]} {SPELLINGS['TensorFlow']}"
    before = model(body, 1, "batch, 160, 224", other=weights)
    after = rewritten(before, FUSE_LAYER_NORMALIZATION)
    assert len(after.graph.node) < len(before.graph.node)
    assert "LayerNormalization" not in operators(after)
    assert_same(before, after, {"x": normal(2, 160, 224)})


SEVERAL = VARIANCE.replace("[AXIS]", "[AXES]")
SHAPES = {
    "rows and columns, full": ("batch, 5, 6, 8", "2, 3", (6, 8), ["LayerNormalization"]),
    "rows and columns, by column": (
        "batch, 5, 6, 8",
        "2, 3",
        (8,),
        ["Reshape", "InstanceNormalization", "Reshape", "Mul", "Add"],
    ),
    "whole samples, full": ("batch, 6, 8", "1, 2", (6, 8), ["LayerNormalization"]),
    "whole samples, by column": (
        "batch, 6, 8",
        "1, 2",
        (8,),
        ["Reshape", "InstanceNormalization", "Reshape", "Mul", "Add"],
    ),
    "channels first": ("batch, 5, 6, 8", "2, 3", (5, 1, 1), ["InstanceNormalization"]),
    "channels first, one axis behind": ("batch, 5, 8", "2", (5, 1), ["InstanceNormalization"]),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("name", SHAPES)
def test_several_axes(name: str, spelling: str) -> None:
    shape, axes, gamma, wanted = SHAPES[name]
    weights = {"gamma": normal(*gamma, seed=1), "beta": normal(*gamma, seed=2)}
    body = f"{SEVERAL} {INVERSES['reciprocal']} {SPELLINGS[spelling]}".replace("AXES", axes)
    before = model(body, -1, shape, other=weights)
    after = rewritten(before, FUSE_LAYER_NORMALIZATION)
    if "without" not in spelling:
        assert operators(after) == wanted
    sizes = [3 if part == "batch" else int(part) for part in shape.split(", ")]
    assert_same(before, after, {"x": 2 + normal(*sizes)})


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_means_may_be_global_average_pools(spelling: str) -> None:
    pooled = VARIANCE.replace("ReduceMean <axes = [AXIS]>", "GlobalAveragePool")
    weights = {"gamma": normal(5, 1, 1, seed=1), "beta": normal(5, 1, 1, seed=2)}
    before = model(
        f"{pooled} {INVERSES['reciprocal']} {SPELLINGS[spelling]}", -1, "batch, 5, 6, 8", other=weights
    )
    after = rewritten(before, FUSE_LAYER_NORMALIZATION)
    assert "GlobalAveragePool" not in operators(after)
    assert_same(before, after, {"x": normal(2, 5, 6, 8)})


@pytest.mark.parametrize(
    "body",
    [
        f"{VARIANCE} w = Add (v, epsilon) s = Sqrt (w) y = Mul (d, s)",
        f"{VARIANCE} w = Mul (v, epsilon) s = Sqrt (w) y = Div (d, s)",
        f"{VARIANCE} s = Sqrt (v) y = Div (d, s)",
        f"{VARIANCE} w = Add (v, epsilon) s = Sqrt (w) y = Div (x, s)",
        VARIANCE.replace("Mul (d, d)", "Mul (d, x)") + " w = Add (v, epsilon) s = Sqrt (w) y = Div (d, s)",
        VARIANCE.replace("ReduceMean <axes = [AXIS]> (q)", "ReduceSum (q, two_axes)")
        + " w = Add (v, epsilon) s = Sqrt (w) y = Div (d, s)",
        VARIANCE.replace("ReduceMean <axes = [AXIS]> (q)", "ReduceMean <axes = [1]> (q)")
        + " w = Add (v, epsilon) s = Sqrt (w) y = Div (d, s)",
        VARIANCE.replace("axes = [AXIS]", "axes = [0, 1]")
        + " w = Add (v, epsilon) s = Sqrt (w) y = Div (d, s)",
        VARIANCE.replace("Sub (x, m)", "Add (x, m)") + " w = Add (v, epsilon) s = Sqrt (w) y = Div (d, s)",
        VARIANCE.replace("v = ReduceMean <axes = [AXIS]> (q)", "v = ReduceMean <axes = [1]> (q)")
        + " w = Add (v, epsilon) s = Sqrt (w) y = Div (d, s)",
        VARIANCE + " w = Add (v, epsilon) s = Sqrt (w) i = Reciprocal (s) g = Mul (i, gamma) "
        "a = Mul (x, g) b = Mul (m, i) y = Sub (a, b)",
        f"{VARIANCE} w = Add (v, spread) s = Sqrt (w) y = Div (d, s)",
    ],
)
def test_what_differs_is_left(body: str) -> None:
    others = {"two_axes": np.array([2], np.int64), "spread": normal(3, 1) ** 2}
    assert_left(model(body, other={k: v for k, v in others.items() if k in body}), FUSE_LAYER_NORMALIZATION)


def test_a_gamma_that_varies_along_another_axis_stays_outside() -> None:
    body = f"{VARIANCE} {INVERSES['reciprocal']} n = Mul (d, i) y = Mul (n, gamma)"
    before = model(body, shape="batch, 2, 3, 6", other={"gamma": normal(3, 1)})
    after = rewritten(before, FUSE_LAYER_NORMALIZATION)
    assert operators(after) == ["LayerNormalization", "Mul"]
    assert_same(before, after, {"x": normal(2, 2, 3, 6)})


KERAS_2 = """
    g (float[batch, WIDTH] x) => (float[batch, WIDTH] y)
    <int64[4] rows = {1, -1, WIDTH, 1}, int64[1] one = {1}, int64[1] zero = {0}, int64[3] axes = {0, 2, 3},
     float on = {1}, float off = {0}, float[1] count = {COUNT}, int64[2] back = {-1, WIDTH}>
    { image = Reshape (x, rows)
      shape = Shape (x)
      size = Slice (shape, zero, one, zero)
      scale = Expand (on, size)
      shift = Expand (off, size)
      mean = ReduceMean <axes = [0, 2, 3], keepdims = 1> (image)
      means = Squeeze (mean, axes)
      centred = Sub (image, mean)
      sum = ReduceSumSquare <axes = [0, 2, 3], keepdims = 0> (centred)
      variances = Div (sum, count)
      normal = BatchNormalization <epsilon = 0.001> (image, scale, shift, means, variances)
      y = Reshape (normal, back) }"""


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("epsilon", ["0.001", "0.00001", "0.1"])
@pytest.mark.parametrize("width", [2, 4, 9, 64, 256])
def test_rows_that_keras_2_normalizes_as_images(width: int, epsilon: str, opset: int) -> None:
    text = KERAS_2.replace("WIDTH", str(width)).replace("COUNT", f"{width}.0").replace("0.001", epsilon)
    before = proto_of(text, {}, opset)
    after = rewritten(before, FUSE_LAYER_NORMALIZATION_OF_ROWS)
    assert operators(after) == ["LayerNormalization"]
    assert_same(before, after, {"x": normal(3, width)}, {"x": normal(1, width)})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("COUNT", "5.0"),
        ("float on = {1}", "float on = {2}"),
        ("float off = {0}", "float off = {1}"),
        ("Sub (image, mean)", "Add (image, mean)"),
        ("Div (sum, count)", "Mul (sum, count)"),
        ("ReduceSumSquare", "ReduceL1"),
        ("(image, scale, shift, means", "(centred, scale, shift, means"),
        ("(image, scale, shift, means", "(image, scale, scale, means"),
        ("shift, means, variances)", "shift, variances, means)"),
        ("normal, back)", "image, back)"),
    ],
)
def test_images_that_are_not_normalized_rows_are_left(old: str, new: str) -> None:
    text = KERAS_2.replace(old, new).replace("WIDTH", "4").replace("COUNT", "4.0")
    assert_left(proto_of(text, {}), FUSE_LAYER_NORMALIZATION_OF_ROWS)


def test_a_beta_that_is_added_twice_counts_twice() -> None:
    spelling = SPELLINGS["TensorFlow"].replace("y =", "z =")
    body = f"{VARIANCE} {INVERSES['reciprocal']} {spelling} y = Add (z, beta)"
    before = model(body)
    after = rewritten(before, FUSE_LAYER_NORMALIZATION)
    assert_same(before, after, {"x": normal(2, 3, 6)})


def test_statistics_along_two_axes_are_left() -> None:
    body = (
        "m = ReduceMean <axes = [1]> (x) d = Sub (x, m) n = ReduceMean <axes = [2]> (x) e = Sub (x, n) "
        "q = Mul (e, e) v = ReduceMean <axes = [2]> (q) w = Add (v, epsilon) s = Sqrt (w) y = Div (d, s)"
    )
    assert_left(model(body), FUSE_LAYER_NORMALIZATION)


def test_an_epsilon_that_widens_the_result_is_left() -> None:
    text = """g (float[2, 8] x) => (float[1, 2, 8] y) <float[1, 1, 1] epsilon = {0.001}>
        { m = ReduceMean <axes = [-1]> (x)  c = Sub (x, m)  q = Mul (c, c)  v = ReduceMean <axes = [-1]> (q)
          e = Add (v, epsilon)  s = Sqrt (e)  y = Div (c, s) }"""
    assert_left(proto_of(text, {}), FUSE_LAYER_NORMALIZATION)
