"""Padding in front of convolutions and pools."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from rewrite_cases import Array, assert_left, assert_same, normal, operators, proto_of, rewrite, rewritten

from optimizer.graph.rewrites.padding import FOLD_PAD, SINK_PAD

LAYERS = {
    "Conv": "Conv <kernel_shape = [3, 3]{more}> (p, w)",
    "AveragePool": "AveragePool <kernel_shape = [3, 3]{more}> (p)",
    "MaxPool": "MaxPool <kernel_shape = [3, 3]{more}> (p)",
}
PADS = {
    "all around": [0, 0, 1, 1, 0, 0, 1, 1],
    "before": [0, 0, 2, 1, 0, 0, 0, 0],
    "behind": [0, 0, 0, 0, 0, 0, 1, 2],
    "height": [0, 0, 2, 0, 0, 0, 2, 0],
}


def layer(
    name: str, pads: list[int], more: str = "", fill: float | None = 0.0, before: str = "Relu"
) -> onnx.ModelProto:
    value = "" if fill is None else ", fill"
    text = f"""
        g (float[batch, 2, 8, 9] x) => (float[a, b, c, d] y) <int64[8] pads = {{{", ".join(map(str, pads))}}}>
        {{ r = {before} (x)  p = Pad (r, pads{value})  y = {LAYERS[name].format(more=more)} }}"""
    weights: dict[str, Array] = {"w": normal(4, 2, 3, 3)} if name == "Conv" else {}
    if fill is not None:
        weights["fill"] = np.array(fill, np.float32)
    return proto_of(text, weights)


FEEDS = [{"x": normal(2, 2, 8, 9)}, {"x": -np.abs(normal(1, 2, 8, 9, seed=1))}]


@pytest.mark.parametrize(
    "more", ["", ", strides = [2, 2]", ', auto_pad = "VALID"', ', auto_pad = "NOTSET", pads = [0, 0, 0, 0]']
)
@pytest.mark.parametrize("pads", PADS)
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_pads_by_itself(name: str, pads: str, more: str) -> None:
    before = layer(name, PADS[pads], more)
    after = rewritten(before, FOLD_PAD)
    assert operators(after) == ["Relu", name]
    assert_same(before, after, *FEEDS)


@pytest.mark.parametrize(
    ("name", "more", "fill", "before"),
    [
        ("Conv", ", pads = [1, 0, 1, 2]", None, "Neg"),
        ("Conv", ", dilations = [2, 2]", 0.0, "Neg"),
        ("AveragePool", ", count_include_pad = 1, pads = [1, 1, 0, 0]", 0.0, "Neg"),
        ("MaxPool", ", pads = [0, 1, 0, 1]", -np.inf, "Neg"),
        ("MaxPool", "", -np.inf, "Identity"),
        ("MaxPool", "", 0.0, "Sigmoid"),
        ("MaxPool", "", 0.0, "Abs"),
    ],
)
def test_paddings_add_up(name: str, more: str, fill: float | None, before: str) -> None:
    proto = layer(name, [0, 0, 1, 0, 0, 0, 1, 1], more, fill, before)
    after = rewritten(proto, FOLD_PAD)
    assert "Pad" not in operators(after)
    assert_same(proto, after, *FEEDS)


@pytest.mark.parametrize(
    ("name", "pads", "more", "fill", "before"),
    [
        ("Conv", PADS["all around"], "", 1.0, "Relu"),
        ("Conv", [0, 0, -1, 0, 0, 0, 1, 0], "", 0.0, "Relu"),
        ("Conv", PADS["all around"], ', auto_pad = "SAME_UPPER"', 0.0, "Relu"),
        ("AveragePool", PADS["all around"], ", pads = [1, 1, 1, 1]", 0.0, "Relu"),
        ("AveragePool", PADS["all around"], ", ceil_mode = 1, strides = [2, 2]", 0.0, "Relu"),
        ("AveragePool", [0, 0, 3, 0, 0, 0, 0, 0], "", 0.0, "Relu"),
        ("AveragePool", PADS["all around"], "", -np.inf, "Relu"),
        ("MaxPool", PADS["all around"], "", 0.0, "Neg"),
        ("MaxPool", PADS["all around"], "", 0.0, "Tanh"),
        ("MaxPool", PADS["all around"], "", 1.0, "Relu"),
        ("MaxPool", PADS["all around"], "", -1e30, "Neg"),
        ("MaxPool", [0, 0, 3, 0, 0, 0, 0, 0], "", 0.0, "Relu"),
        ("MaxPool", PADS["all around"], ", dilations = [2, 2]", 0.0, "Relu"),
    ],
)  # fmt: skip
def test_padding_that_the_layer_would_count_otherwise_is_left(
    name: str, pads: list[int], more: str, fill: float, before: str
) -> None:
    assert_left(layer(name, pads, more, fill, before), FOLD_PAD)


@pytest.mark.parametrize("axes", ["2, 3", "3, 2", "-1, 2"])
@pytest.mark.parametrize("name", ["Conv", "AveragePool"])
def test_a_pad_may_name_its_axes(name: str, axes: str) -> None:
    text = f"""
        g (float[batch, 2, 8, 9] x) => (float[a, b, c, d] y)
        <int64[4] pads = {{1, 2, 0, 1}}, int64[2] axes = {{{axes}}}, float fill = {{0}}>
        {{ p = Pad (x, pads, fill, axes)  y = {LAYERS[name].format(more="")} }}"""
    before = proto_of(text, {"w": normal(4, 2, 3, 3)} if name == "Conv" else {}, opset=18)
    after = rewritten(before, FOLD_PAD)
    assert operators(after) == [name]
    assert_same(before, after, *FEEDS)


@pytest.mark.parametrize("lowest", [-1.0, 0.0, 0.5])
def test_zeros_are_no_larger_than_what_is_clipped_from_zero(lowest: float) -> None:
    text = f"""
        g (float[batch, 2, 8, 9] x) => (float[a, b, c, d] y)
        <float low = {{{lowest}}}, float high = {{6}}, int64[8] pads = {{0, 0, 1, 1, 0, 0, 1, 1}}>
        {{ r = Clip (x, low, high)  p = Pad (r, pads)  y = MaxPool <kernel_shape = [3, 3]> (p) }}"""
    before = proto_of(text, {})
    if lowest < 0:
        assert_left(before, FOLD_PAD)
        return
    after = rewritten(before, FOLD_PAD)
    assert operators(after) == ["Clip", "MaxPool"]
    assert_same(before, after, *FEEDS)


@pytest.mark.parametrize("mode", ["reflect", "edge"])
@pytest.mark.parametrize("name", LAYERS)
def test_padding_that_is_not_constant_is_left(name: str, mode: str) -> None:
    proto = layer(name, PADS["all around"], fill=None)
    proto.graph.node[1].attribute.append(onnx.helper.make_attribute("mode", mode))
    assert_left(proto, FOLD_PAD)


@pytest.mark.parametrize("axis", [0, 1])
def test_channels_and_examples_are_no_padding_of_a_layer(axis: int) -> None:
    pads = [0] * 8
    pads[axis] = 1
    assert_left(layer("MaxPool", pads), FOLD_PAD)


def test_zeros_that_may_be_the_largest_are_named() -> None:
    _, report = rewrite(layer("MaxPool", PADS["all around"], before="Neg"), (FOLD_PAD,))
    assert "larger than what is pooled" in next(iter(report.left.values())).reason


FIRST = "Transpose <perm = [0, 3, 1, 2]> (p)"
MOVES = {
    "Transpose": ("float[batch, 8, 9, 2]", FIRST, [0, 1, 0, 0, 0, 2, 1, 0]),
    "Transpose, channels": ("float[batch, 8, 9, 2]", FIRST, [0, 0, 1, 1, 0, 0, 0, 0]),
    "Unsqueeze": ("float[batch, 2, 9]", "Unsqueeze (p, two)", [0, 0, 1, 0, 0, 2]),
    "Squeeze": ("float[batch, 2, 1, 9, 9]", "Squeeze (p, two)", [0, 0, 0, 1, 0, 0, 0, 0, 2, 1]),
}  # fmt: skip


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("mode", ["constant", "edge"])
@pytest.mark.parametrize("name", MOVES)
def test_a_pad_meets_its_convolution(name: str, mode: str, times: int, opset: int) -> None:
    given, move, pads = MOVES[name]
    pads = [times * size for size in pads]
    width = 2 + times if "channels" in name else 2
    text = f"""
        g ({given} x) => (float[a, b, c, d] y)
        <int64[{len(pads)}] pads = {{{", ".join(map(str, pads))}}}, int64[1] two = {{2}}>
        {{ p = Pad <mode = "{mode}"> (x, pads)  m = {move}  y = Conv (m, w) }}"""
    before = proto_of(text, {"w": normal(3, width, 1, 3)}, opset)
    after = rewritten(before, SINK_PAD)
    assert operators(after) == [name.split(",")[0], "Pad", "Conv"]
    shape = [2, *(int(size) for size in given.rstrip("]").split(", ")[1:])]
    assert_same(before, after, {"x": normal(*shape)})


@pytest.mark.parametrize(
    "body",
    [
        "p = Pad (x, pads)  m = Transpose <perm = [0, 3, 1, 2]> (p)  y = Neg (m)",
        "p = Pad (x, pads)  m = Transpose <perm = [0, 3, 1, 2]> (p)  n = Neg (p)  a = Transpose (n) "
        "b = Transpose <perm = [3, 0, 2, 1]> (a)  c = MaxPool <kernel_shape = [1, 1]> (m)  y = Add (b, c)",
        "p = Pad (x, pads)  m = Squeeze (p, one)  n = Unsqueeze (m, one)  y = Neg (n)",
        "p = Pad (x, pads)  m = Transpose <perm = [0, 3, 1, 2]> (p)  y = Softmax (m)",
        "p = Pad (x, pads)  m = Transpose <perm = [0, 3, 1, 2]> (p)  y = GlobalAveragePool (m)",
        "p = Pad (x, pads)  m = Transpose <perm = [0, 3, 1, 2]> (p)  y = Add (m, m)",
        "p = Pad (x, pads)  m = Transpose <perm = [0, 3, 1, 2]> (p)  a = MaxPool <kernel_shape = [1, 1]> (m) "
        "b = Neg (m)  y = Add (a, b)",
        "p = Pad (x, fewer)  m = Transpose <perm = [0, 3, 1, 2]> (p)  "
        "y = MaxPool <kernel_shape = [1, 1]> (m)",
        "p = Pad (x, counted)  m = Transpose <perm = [0, 3, 1, 2]> (p)  "
        "y = MaxPool <kernel_shape = [1, 1]> (m)",
        "r = Relu (x)  m = Transpose <perm = [0, 3, 1, 2]> (r)  y = MaxPool <kernel_shape = [1, 1]> (m)",
    ],
)
def test_a_pad_that_meets_no_layer_is_left(body: str) -> None:
    text = f"""
        g (float[batch, 1, 9, 2] x, int64[8] counted) => (float[a, b, c, d] y)
        <int64[8] pads = {{0, 0, 1, 0, 0, 0, 1, 0}}, int64[8] fewer = {{0, 0, -1, 0, 0, 0, 1, 0}},
         int64[1] one = {{1}}> {{ {body} }}"""
    assert_left(proto_of(text, {}), SINK_PAD)


@pytest.mark.parametrize("last", ["Relu (p)", "Conv (p, w)"])
def test_a_pad_that_several_layers_share_goes_with_the_last_of_them(last: str) -> None:
    text = f"""
        g (float[batch, 2, 8, 9] x) => (float[a, b, c, d] y, float[e, f, g, h] z)
        <int64[8] pads = {{0, 0, 1, 1, 0, 0, 1, 1}}>
        {{ p = Pad (x, pads)  y = Conv (p, v)  z = {last} }}"""
    weights = {"v": normal(4, 2, 3, 3), "w": normal(3, 2, 3, 3)}
    before = proto_of(text, weights if "w" in last else {"v": weights["v"]})
    if "Relu" in last:
        assert_left(before, FOLD_PAD)
        return
    after = rewritten(before, FOLD_PAD, times=2)
    assert operators(after) == ["Conv", "Conv"]
    assert_same(before, after, {"x": normal(2, 2, 8, 9)})


def test_a_pad_of_an_old_operator_set_is_left() -> None:
    text = """g (float[1, 3, 8, 8] x) => (float[1, 4, 8, 8] y)
        { p = Pad <pads = [0, 0, 1, 1, 0, 0, 1, 1]> (x)  y = Conv (p, w) }"""
    assert_left(proto_of(text, {"w": normal(4, 3, 3, 3)}, opset=10), FOLD_PAD)
