"""Float operators between integer ones get forms with integer kernels, which compute the same."""

from __future__ import annotations

from itertools import product

import numpy as np
import onnx
import pytest
from island_cases import NORM, cnn, feeds, head
from onnx import TensorProto
from rewrite_cases import assert_same, operators, proto_of

from optimizer.calibrate import collect_ranges
from optimizer.model import from_proto
from optimizer.quantize.islands import Closed, close_islands
from optimizer.quantize.selection import integer_operators
from optimizer.steps import StaticOperators


def close(proto: onnx.ModelProto, kind: StaticOperators = "all", kept: tuple[str, ...] = ()) -> Closed:
    ranges = collect_ranges(from_proto(proto), [feeds()], lambda _: None)
    return close_islands(proto, ranges.values, integer_operators(kind), kept)


def assert_closed(proto: onnx.ModelProto, *expected: str) -> None:
    before = proto.SerializeToString(deterministic=True)
    closed = close(proto)
    assert operators(closed.proto)[2:-1] == list(expected)
    assert len(closed.changes) == 1
    assert proto.SerializeToString(deterministic=True) == before
    assert_same(proto, closed.proto, feeds(1), feeds(2))
    assert close(closed.proto).proto is closed.proto
    twin = close(proto).proto
    assert twin.SerializeToString(deterministic=True) == closed.proto.SerializeToString(deterministic=True)
    made = {name for node in closed.proto.graph.node for name in node.output}
    assert made <= closed.ranges.keys()


@pytest.mark.parametrize("channels", [8, 13, 32])
@pytest.mark.parametrize("tail", ["", "<epsilon = 0.1>"])
@pytest.mark.parametrize("pool", [False, True])
def test_a_normalization_becomes_a_depthwise_conv(channels: int, tail: str, pool: bool) -> None:
    body = NORM.replace("<epsilon = 0.01>", tail)
    if pool:
        body = body.replace("m =", "b =") + "\n m = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (b)"
    assert_closed(cnn(body, channels), "Conv", *["MaxPool"] * pool)


@pytest.mark.parametrize(
    "pool",
    ["strides = [2, 2]", "pads = [1, 1, 0, 0]", "strides = [3, 3], ceil_mode = 1", "dilations = [2, 2]"],
)
@pytest.mark.parametrize("channels", [8, 24])
def test_a_pool_comes_before_a_scale_that_is_positive(pool: str, channels: int) -> None:
    scale = np.linspace(0.01, 3, channels, dtype=np.float32)
    body = f"{NORM.replace('m =', 'b =')} \n m = MaxPool <kernel_shape = [2, 2], {pool}> (b)"
    assert_closed(cnn(body, channels, scale=scale), "MaxPool", "Conv")


@pytest.mark.parametrize(
    "tail",
    [
        "m = AveragePool <kernel_shape = [2, 2]> (b)",
        "p = MaxPool <kernel_shape = [1, 1]> (b) \n m = Add (p, b)",
    ],
)
def test_another_pool_stays_behind_the_scale(tail: str) -> None:
    scale = np.linspace(0.01, 3, 16, dtype=np.float32)
    closed = close(cnn(f"{NORM.replace('m =', 'b =')} \n {tail}", scale=scale)).proto
    assert operators(closed)[:3] == ["Conv", "Relu", "Conv"]


@pytest.mark.parametrize(
    "body",
    [
        f"{first}\n {second}"
        for first, second in product(
            ("p = Mul (a, s)", "p = Mul (s, a)", "p = Div (a, s)"),
            ("m = Add (p, t)", "m = Add (t, p)", "m = Sub (p, t)"),
        )
    ],
)
def test_scale_and_shift_become_one_depthwise_conv(body: str) -> None:
    assert_closed(cnn(body, t=np.full((16, 1, 1), 0.25, np.float32)), "Conv")
    assert_closed(cnn(body), "Conv")


@pytest.mark.parametrize(
    "body", ["m = Mul (a, s)", "m = Div (a, s)", "m = Add (t, a)", "m = Sub (a, t)", "m = Mul (t, a)"]
)
def test_a_scale_or_a_shift_alone_does_too(body: str) -> None:
    assert_closed(cnn(body), "Conv")


@pytest.mark.parametrize(("reduce", "pool"), [("ReduceMean", "GlobalAveragePool"), ("ReduceMax", "MaxPool")])
@pytest.mark.parametrize("axes", ["2, 3", "3, 2", "-2, -1"])
def test_reductions_over_the_image_become_pools(reduce: str, pool: str, axes: str) -> None:
    assert_closed(cnn(f"m = {reduce} <axes = [{axes}]> (a)"), pool)
    assert_closed(head(f"m = {reduce} <axes = [{axes}], keepdims = 0> (a)"), pool, "Flatten")


def test_axes_may_be_an_input() -> None:
    assert_closed(cnn("m = ReduceMean (a, axes)", opset=18, axes=np.array([2, 3])), "GlobalAveragePool")


def test_a_global_maximum_is_a_pool() -> None:
    assert_closed(cnn("m = GlobalMaxPool (a)"), "MaxPool")


@pytest.mark.parametrize(
    "body",
    [
        "m = Mul (a, one)",  # one number for all channels
        "m = Mul (a, image)",
        "m = Mul (a, row)",
        "m = Add (a, all)",
        "m = Sub (t, a)",
        "m = Mul (a, a)",
        "m = Tanh (a)",
        "m = ReduceMean <axes = [2]> (a)",
        "m = ReduceMean <axes = [0, 2, 3]> (a)",
        "m = ReduceMax <axes = [3]> (a)",
        "m = ReduceMin <axes = [2, 3]> (a)",
        "r = Sigmoid (t) \n m = Mul (a, r)",
    ],
)
def test_what_is_something_else_is_left(body: str) -> None:
    proto = cnn(
        body,
        one=np.ones((1, 1, 1), np.float32),
        image=np.full((16, 8, 8), 2, np.float32),
        row=np.full(8, 2, np.float32),
        all=np.full((5, 16, 1, 1), 2, np.float32),
    )
    assert close(proto).proto is proto


def test_a_training_normalization_is_left() -> None:
    body = "m, u, v = BatchNormalization <training_mode = 1> (a, scale, bias, mean, variance)"
    proto = cnn(body)
    assert close(proto).proto is proto


def test_a_pool_that_is_to_stay_float_is_left() -> None:
    proto = cnn("m = ReduceMean <axes = [2, 3]> (a)")
    assert close(proto, "conv").proto is proto


def test_few_channels_are_left() -> None:
    assert operators(close(cnn(NORM, channels=7)).proto) == ["Conv", "Relu", "BatchNormalization", "Conv"]


def test_no_integers_come_in_or_are_wanted() -> None:
    text = """g (float[n, 16, 8, 8] x) => (float[n, 16, 8, 8] y) {{ {} }}"""
    norm = "{} = BatchNormalization ({}, scale, bias, mean, variance)"
    weights = {name: np.ones(16, np.float32) for name in ("scale", "bias", "mean", "variance")}
    weights["w"] = np.ones((16, 16, 1, 1), np.float32)
    feed = {"x": np.random.default_rng(0).normal(0, 1, (2, 16, 8, 8)).astype(np.float32)}
    first = f"{norm.format('b', 'x')} y = Conv (b, w)"
    last = f"c = Conv (x, w) r = Exp (c) {norm.format('y', 'r')}"
    output = f"c = Conv (x, w) r = Relu (c) {norm.format('y', 'r')}"
    for body in (first, last, output):
        proto = proto_of(text.format(body), weights)
        ranges = collect_ranges(from_proto(proto), [feed], lambda _: None)
        assert close_islands(proto, ranges.values, integer_operators("all"), ()).proto is proto


def test_what_the_user_keeps_in_float_is_left() -> None:
    proto = cnn("p = Mul (a, s) \n m = Add (p, t)")
    for node in proto.graph.node:
        node.name = f"{node.op_type} of {node.output[0]}"
    assert close(proto, "conv").proto is not proto
    for kept in (("Add of m",), ("Mul of p",), ("Conv of c",), ("Conv of y",)):
        assert close(proto, "conv", kept).proto is proto


def test_types_of_depthwise_are_those_of_the_model() -> None:
    closed = close(cnn(NORM)).proto
    kinds = {tensor.data_type for tensor in closed.graph.initializer}
    assert kinds == {TensorProto.FLOAT}
