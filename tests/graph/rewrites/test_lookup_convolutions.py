"""Convolutions of looked-up rows as sums of look-ups."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx
import pytest
from rewrite_cases import Array, assert_left, assert_same, normal, operators, proto_of, rewrite, rewritten

from optimizer.errors import InvalidDataError
from optimizer.graph.rewrites.affine import FOLD_AFFINE
from optimizer.graph.rewrites.lookup_convolutions import FOLD_CONV_INTO_TABLES
from optimizer.graph.verify import open_proto

ROWS, CHANNELS, STEPS, OUT = 20, 48, 90, 96


@dataclass(frozen=True)
class Case:
    """A convolution along the steps of looked-up rows."""

    taps: int = 3
    pads: tuple[int, int] = (1, 1)
    stride: int = 1
    dilation: int = 1
    layout: str = "height 1"
    """height 1, width 1, reshaped to that, or three axes."""
    bias: bool = True
    kind: str = "int32"
    steps: str = str(STEPS)
    behind: str = "y = Relu (c)"

    def text(self) -> str:
        """The graph."""
        d, s, (p, q) = self.dilation, self.stride, self.pads
        attributes = {
            "height 1": f"dilations = [1, {d}], strides = [1, {s}], pads = [0, {p}, 0, {q}]",
            "width 1": f"dilations = [{d}, 1], strides = [{s}, 1], pads = [{p}, 0, {q}, 0]",
            "reshaped": f"dilations = [{d}, 1], strides = [{s}, 1], pads = [{p}, 0, {q}, 0]",
            "three axes": f"dilations = [{d}], strides = [{s}], pads = [{p}, {q}]",
        }[self.layout]
        move = {
            "height 1": "wide = Unsqueeze (rows, one) image = Transpose <perm = [0, 3, 1, 2]> (wide)",
            "width 1": "turned = Transpose <perm = [0, 2, 1]> (rows) image = Unsqueeze (turned, three)",
            "reshaped": "turned = Transpose <perm = [0, 2, 1]> (rows) image = Reshape (turned, apart)",
            "three axes": "image = Transpose <perm = [0, 2, 1]> (rows)",
        }[self.layout]
        result = {"height 1": f"{OUT}, 1, m", "three axes": f"{OUT}, m"}.get(self.layout, f"{OUT}, m, 1")
        return f"""g ({self.kind}[batch, {self.steps}] i) => (float[batch, {result}] y)
            <int64[1] one = {{1}}, int64[1] three = {{3}}, int64[4] apart = {{0, 0, -1, 1}}>
            {{ rows = Gather <axis = 0> (table, i)
               {move}
               c = Conv <{attributes}> (image, w{", b" * self.bias})
               {self.behind} }}"""

    def weights(self) -> dict[str, Array]:
        """The table and the kernel."""
        kernel = {"height 1": (1, self.taps), "three axes": (self.taps,)}
        return {
            "table": normal(ROWS, CHANNELS, seed=1),
            "w": 0.1 * normal(OUT, CHANNELS, *kernel.get(self.layout, (self.taps, 1)), seed=2),
        } | ({"b": normal(OUT, seed=3)} if self.bias else {})

    def model(self) -> onnx.ModelProto:
        """The model."""
        return proto_of(self.text(), self.weights())


def feed(case: Case, batch: int = 3) -> dict[str, Array]:
    """Indices on both sides of zero."""
    low = np.random.default_rng(4).integers(-ROWS, ROWS, (batch, STEPS))
    return {"i": low.astype(np.int32 if case.kind == "int32" else np.int64)}


@pytest.mark.parametrize("layout", ["height 1", "width 1", "reshaped", "three axes"])
@pytest.mark.parametrize(
    "case",
    [
        Case(),
        Case(taps=5, pads=(2, 2)),
        Case(taps=4, pads=(1, 2)),
        Case(pads=(0, 0)),
        Case(pads=(2, 0)),
        Case(pads=(0, 2)),
        Case(pads=(2, 2), dilation=2),
        Case(pads=(0, 0), dilation=3),
        Case(pads=(0, 0), stride=2),
        Case(pads=(0, 0), stride=2, dilation=2, taps=4),
        Case(bias=False),
        Case(kind="int64"),
        Case(taps=3, pads=(0, 0), kind="int64", bias=False),
        Case(steps="n"),
        Case(steps="n", pads=(0, 0)),
    ],
)
def test_a_convolution_becomes_a_sum_of_look_ups(case: Case, layout: str) -> None:
    case = replace(case, layout=layout)
    before = case.model()
    after = rewritten(before, FOLD_CONV_INTO_TABLES)
    assert operators(after).count("Gather") == case.taps
    assert "Conv" not in operators(after)
    assert_same(before, after, feed(case, 1), feed(case))


def test_several_convolutions_of_one_look_up_each_become_one() -> None:
    text = Case(behind="a = Relu (c)").text()
    text = text.replace(
        "a = Relu (c)", "a = Relu (c) k = Conv <pads = [0, 1, 0, 1]> (image, v) y = Mul (a, k)"
    )
    before = proto_of(text, {**Case().weights(), "v": 0.1 * normal(OUT, CHANNELS, 1, 3, seed=5)})
    after = rewritten(before, FOLD_CONV_INTO_TABLES, times=2)
    assert_same(before, after, feed(Case()))


def test_a_bias_that_stands_behind_goes_into_the_tables_too() -> None:
    case = Case(bias=False, behind="y = Add (c, b)")
    before = proto_of(case.text(), {**case.weights(), "b": normal(OUT, 1, 1, seed=3)})
    after = rewritten(before, FOLD_AFFINE, FOLD_CONV_INTO_TABLES)
    assert operators(after).count("Add") == 2
    assert_same(before, after, feed(case))


def test_an_index_out_of_bounds_is_still_an_error() -> None:
    after = rewritten(Case().model(), FOLD_CONV_INTO_TABLES)
    with pytest.raises(InvalidDataError, match="out of data bounds"):
        open_proto(after).run({"i": np.full((1, STEPS), ROWS, np.int32)})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pads = [0, 1, 0, 1]", "pads = [1, 1, 0, 1]"),
        ("pads = [0, 1, 0, 1]", "pads = [0, 1, 0, 0]"),
        ("strides = [1, 1]", "strides = [1, 2]"),
        ("strides = [1, 1]", "strides = [2, 1]"),
        ("pads = [0, 1, 0, 1]", 'auto_pad = "SAME_UPPER"'),
        ("perm = [0, 3, 1, 2]", "perm = [0, 3, 2, 1]"),
        ("wide = Unsqueeze (rows, one)", "bent = Relu (rows) wide = Unsqueeze (bent, one)"),
        ("Gather <axis = 0> (table, i)", "Gather <axis = 0> (other, i)"),
        ("(image, w, b)", "(image, other_w, b)"),
        ("y = Relu (c)", "y = Add (c, b3)"),
    ],
)
def test_another_convolution_is_left(old: str, new: str) -> None:
    text = Case().text()
    assert old in text
    text = text.replace(old, new)
    inputs = {"other": f"float[{ROWS}, {CHANNELS}]", "other_w": f"float[{OUT}, {CHANNELS}, 1, 3]"}
    for name, kind in inputs.items():
        if f"({name}," in text or f" {name}," in text:
            text = text.replace("] i)", f"] i, {kind} {name})")
    weights = {**Case().weights(), "b3": normal(OUT, 1, 1)}
    used = {name: value for name, value in weights.items() if f"{name})" in text or f"({name}," in text}
    used |= {"w": weights["w"]} if "image, w," in text else {}
    assert_left(proto_of(text.replace(f"{OUT}, 1, m]", f"{OUT}, h, m]"), used), FOLD_CONV_INTO_TABLES)


@pytest.mark.parametrize(
    ("table", "kernel", "reason"),
    [
        ((20, 16), (64, 16, 1, 3), "cheap already"),
        ((20, 48), (8, 48, 1, 3), "cheap already"),
        ((5000, 48), (64, 48, 1, 3), "would grow"),
    ],
)
def test_what_would_be_no_gain_is_left_and_says_so(
    table: tuple[int, ...], kernel: tuple[int, ...], reason: str
) -> None:
    text = Case(bias=False).text().replace(f"{OUT}, 1, m]", f"{kernel[0]}, 1, m]")
    proto = proto_of(text, {"table": normal(*table), "w": normal(*kernel)})
    _, report = rewrite(proto, [FOLD_CONV_INTO_TABLES])
    assert not report.applied
    assert reason in next(iter(report.left.values())).reason


def test_padding_that_no_tap_is_free_of_is_left_and_says_so() -> None:
    """Two taps two steps apart, padded by one step on both sides: each reads a place of padding."""
    text = Case(bias=False).text().replace("dilations = [1, 1]", "dilations = [1, 2]")
    table, kernel = normal(ROWS, CHANNELS), normal(OUT, CHANNELS, 1, 2)
    _, report = rewrite(proto_of(text, {"table": table, "w": kernel}), [FOLD_CONV_INTO_TABLES])
    assert not report.applied
    assert "no tap of it is free of padding" in next(iter(report.left.values())).reason
