"""Sums as products, extremes in parts, and reductions that are left as they are."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from rewrite_cases import Array, assert_left, assert_same, normal, operators, proto_of, rewritten

from optimizer.graph.rewrites.reductions import FOLD_SUM_INTO_MATMUL, INSERT_PARTIAL_MAXIMUM

SHAPES: dict[str, tuple[list[int | None], list[int]]] = {
    "columns": ([64, 48], [0]),
    "steps": ([None, 64, 48], [1]),
    "steps, counted from the end": ([None, 64, 48], [-2]),
    "image, channels last": ([None, 12, 16, 24], [1, 2]),
    "rows of an image": ([None, 3, 64, 48], [2]),
    "columns of an image": ([None, 64, 6, 24], [1]),
    "all but the last two axes": ([8, 12, 16, 4], [0, 1]),
}


def model(
    operator: str, shape: list[int | None], axes: list[int], *, keep: bool = True, opset: int = 18
) -> onnx.ModelProto:
    """A reduction; its axes are an input or an attribute, as the operator set has it."""
    places = {axis % len(shape) for axis in axes}
    kept = [1 if place in places else size for place, size in enumerate(shape)]
    result = kept if keep else [size for place, size in enumerate(shape) if place not in places]
    sizes = ["batch" if size is None else str(size) for size in shape]
    results = ["batch" if size is None else str(size) for size in result]
    by_input = opset >= 18 or (operator == "ReduceSum" and opset >= 13)
    inner = f"keepdims = {int(keep)}" + ("" if by_input else f", axes = {axes}")
    text = f"""g (float[{", ".join(sizes)}] x) => (float[{", ".join(results)}] y)
        {{ y = {operator} <{inner}> (x{", axes" * by_input}) }}"""
    weights: dict[str, Array] = {"axes": np.array(axes, np.int64)} if by_input else {}
    return proto_of(text, weights, opset)


def feed(shape: list[int | None], batch: int) -> dict[str, Array]:
    return {"x": 0.3 + normal(*(batch if size is None else size for size in shape))}


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("operator", ["ReduceMean", "ReduceSum"])
@pytest.mark.parametrize("name", SHAPES)
def test_a_sum_becomes_a_product(name: str, operator: str, keep: bool, opset: int) -> None:
    shape, axes = SHAPES[name]
    before = model(operator, shape, axes, keep=keep, opset=opset)
    after = rewritten(before, FOLD_SUM_INTO_MATMUL)
    assert operator not in operators(after)
    assert_same(before, after, feed(shape, 1), feed(shape, 3))


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("operator", ["ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("name", SHAPES)
def test_an_extreme_is_taken_in_parts(name: str, operator: str, keep: bool, opset: int) -> None:
    shape, axes = SHAPES[name]
    wide = {6: 32, 16: 12}.get(shape[-2] or 0, 192) if len(shape) - max(axes) == 3 else 192
    longer = [*shape[:-1], wide]  # 192 elements are kept of each sample
    before = model(operator, longer, axes, keep=keep, opset=opset)
    after = rewritten(before, INSERT_PARTIAL_MAXIMUM)
    assert operators(after).count(operator) == 2
    assert_same(before, after, feed(longer, 1), feed(longer, 3))


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ([None, 64, 48], [2]),
        ([None, 64, 48], [1, 2]),
        ([None, 64, 48], [0]),
        ([None, 64, 48], [0, 1]),
        ([None, None, 48], [1]),
        ([None, 64, None], [1]),
        ([None, 12, 16, 24], [1, 3]),
        ([None, 4, 64, 48], [1, 3]),
        ([None, 6, 4, 24, 96], [1, 3]),
        ([None, 6, 9], [1]),
        ([None, 1, 9000], [1]),
    ],
)
@pytest.mark.parametrize("operator", ["ReduceMean", "ReduceMax"])
def test_what_would_be_no_faster_is_left(operator: str, shape: list[int | None], axes: list[int]) -> None:
    text = model(operator, shape, axes)
    for place, size in enumerate(shape[1:], start=1):
        if size is None:
            text.graph.input[0].type.tensor_type.shape.dim[place].dim_param = f"free_{place}"
            if place not in axes:
                text.graph.output[0].type.tensor_type.shape.dim[place].dim_param = f"free_{place}"
    assert_left(text, FOLD_SUM_INTO_MATMUL if operator == "ReduceMean" else INSERT_PARTIAL_MAXIMUM)


@pytest.mark.parametrize("operator", ["ReduceL2", "ReduceProd", "ReduceSumSquare", "ReduceLogSumExp"])
def test_another_reduction_is_left(operator: str) -> None:
    assert_left(model(operator, [None, 64, 480], [1]), FOLD_SUM_INTO_MATMUL, INSERT_PARTIAL_MAXIMUM)


def test_the_parts_of_long_rows_are_taken_in_parts_again_under_names_of_their_own() -> None:
    before = model("ReduceMax", [None, 20, 2048], [1])
    after = rewritten(before, INSERT_PARTIAL_MAXIMUM, times=2)
    assert_same(before, after, feed([None, 20, 2048], 2))


def test_a_length_without_divisors_is_not_taken_in_parts() -> None:
    assert_left(model("ReduceMax", [None, 127, 480], [1]), INSERT_PARTIAL_MAXIMUM)


@pytest.mark.parametrize("kind", ["double", "float16", "int32"])
def test_another_type_is_left(kind: str) -> None:
    text = f"""g ({kind}[batch, 64, 480] x) => ({kind}[batch, 1, 480] y)
        <int64[1] axes = {{1}}> {{ y = ReduceSum (x, axes) }}"""
    assert_left(proto_of(text, {}, 18), FOLD_SUM_INTO_MATMUL)
