"""Converters of the diagonals of matrices, of segments, and of filters that the model computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from op_models import convert_function, is_same


def tensorflow() -> Any:
    import tensorflow

    return tensorflow


ROWS = np.random.default_rng(0).normal(size=(3, 4, 6)).astype(np.float32)
FREE = (None, None, None)
ALIGNS = ("RIGHT_LEFT", "LEFT_RIGHT", "LEFT_LEFT", "RIGHT_RIGHT")

DIAGONALS: dict[str, Callable[[Any, Any], Any]] = {
    "main to matrix": lambda tf, x: tf.linalg.diag(x),
    "above": lambda tf, x: tf.linalg.diag(x, k=2),
    "below": lambda tf, x: tf.linalg.diag(x, k=-1, padding_value=7.0),
    "into more rows": lambda tf, x: tf.linalg.diag(x, num_rows=9),
    "into more columns": lambda tf, x: tf.linalg.diag(x, k=-2, num_cols=11),
    "into a given size": lambda tf, x: tf.linalg.diag(x, k=1, num_rows=6, num_cols=9),
    "by version 1": lambda tf, x: tf.raw_ops.MatrixDiag(diagonal=x),
    "band above": lambda tf, x: tf.linalg.diag(x, k=(1, 4)),
    "band below": lambda tf, x: tf.linalg.diag(x, k=(-5, -2)),
    "main set": lambda tf, x: tf.linalg.set_diag(x, x[..., 0] * 3),
    "set above": lambda tf, x: tf.linalg.set_diag(x, x[:, :3, 0] * 3, k=3),
    "set below": lambda tf, x: tf.linalg.set_diag(x, x[:, :2, 0] * 3, k=-2),
    "set by version 1": lambda tf, x: tf.raw_ops.MatrixSetDiag(input=x, diagonal=x[..., 0]),
    "main of matrix": lambda tf, x: tf.linalg.diag_part(x),
    "above of matrix": lambda tf, x: tf.linalg.diag_part(x, k=4),
    "below of matrix": lambda tf, x: tf.linalg.diag_part(x, k=-3),
    "of matrix by version 1": lambda tf, x: tf.raw_ops.MatrixDiagPart(input=x),
    "trace": lambda tf, x: tf.linalg.trace(x),
    "one-element band": lambda tf, x: tf.linalg.diag_part(x, k=(1, 1)),
    "integers": lambda tf, x: tf.linalg.diag(tf.cast(x * 9, tf.int32), k=1),
    "there and back": lambda tf, x: tf.linalg.diag_part(tf.linalg.diag(x, k=(-1, 2)), k=(-1, 2)),
}
# Their diagonals are as long as those of these matrices, and of no others.
FIXED_SIZE = {
    "main set",
    "set above",
    "set below",
    "band above",
    "band below",
    "there and back",
    "into a given size",
}


@pytest.mark.parametrize("name", DIAGONALS)
def test_diagonals_are_the_same(name: str, tmp_path: Path) -> None:
    tf = tensorflow()
    shapes = {} if name in FIXED_SIZE or "version 1" in name else {"x": FREE}
    result, _ = convert_function(lambda x: DIAGONALS[name](tf, x), tmp_path, {"x": ROWS}, shapes)
    assert is_same(result)


@pytest.mark.parametrize("align", ALIGNS)
def test_bands_keep_to_their_alignment(align: str, tmp_path: Path) -> None:
    tf = tensorflow()

    def taken(x: Any) -> Any:
        return tf.linalg.diag_part(x, k=(-2, 3), align=align, padding_value=5.0)

    def put(x: Any) -> Any:  # a matrix of 6 rows and 7 columns
        return tf.linalg.diag(x, k=(-2, 1), align=align, num_cols=7)

    for name, function, shapes in (("taken", taken, {"x": FREE}), ("put", put, {})):
        (tmp_path / name).mkdir()
        result, _ = convert_function(function, tmp_path / name, {"x": ROWS}, shapes)
        assert is_same(result)


SEGMENTS: dict[str, Callable[[Any, Any], Any]] = {
    "mean": lambda tf, x: tf.math.segment_mean(x, [0, 0, 2, 5]),
    "sum": lambda tf, x: tf.math.segment_sum(x, [0, 0, 2, 5]),
    "product": lambda tf, x: tf.math.segment_prod(x, [0, 0, 2, 5]),
    "largest": lambda tf, x: tf.math.segment_max(x, [0, 0, 2, 5]),
    "least": lambda tf, x: tf.math.segment_min(x, [1, 1, 3, 3]),
    "mean of halves": lambda tf, x: tf.cast(
        tf.math.segment_mean(tf.cast(x, tf.float16), [0, 0, 2, 5]), tf.float32
    ),
    "mean of one column": lambda tf, x: tf.math.segment_mean(x[:, 0], [0, 0, 2, 5]),
    "mean of some": lambda tf, x: tf.sparse.segment_mean(x, [0, 3, 3, 1], [1, 1, 1, 4]),
    "root mean of some": lambda tf, x: tf.sparse.segment_sqrt_n(x, [0, 3, 3, 1], [1, 1, 1, 4]),
}


INTEGERS: dict[str, Callable[[Any, Any], Any]] = {
    "largest": lambda tf, x: tf.math.segment_max(x, [0, 0, 2, 5]),
    "least": lambda tf, x: tf.math.segment_min(x, [0, 0, 2, 5]),
    "largest, unsorted": lambda tf, x: tf.math.unsorted_segment_max(x, [4, 0, 0, 5], 7),
    "least, unsorted": lambda tf, x: tf.math.unsorted_segment_min(x, [4, 0, 0, 5], 7),
    "diagonal of bytes": lambda tf, x: tf.cast(tf.linalg.diag(tf.cast(x, tf.int8)), tf.int32),
    "diagonal of flags": lambda tf, x: tf.cast(tf.linalg.diag(x > 2), tf.int32),
    "flags set": lambda tf, x: tf.cast(tf.linalg.set_diag(x > 2, x[:, 0] > 3), tf.int32),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_are_equal(name: str, tmp_path: Path) -> None:
    tf = tensorflow()
    rows = np.random.default_rng(2).integers(-9, 9, (4, 6)).astype(np.int32)
    result, _ = convert_function(lambda x: INTEGERS[name](tf, x), tmp_path, {"x": rows}, {"x": rows.shape})
    assert is_same(result)


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
def test_large_numbers_on_a_diagonal_are_equal(dtype: Any, tmp_path: Path) -> None:
    tf = tensorflow()
    rows = np.array([[3_000_000_000, 5, 2**32 - 1]], dtype) * (1 if dtype == np.uint32 else 1 << 20)
    result, _ = convert_function(lambda x: tf.linalg.diag(x), tmp_path, {"x": rows}, {"x": rows.shape})
    assert is_same(result)


@pytest.mark.parametrize("name", SEGMENTS)
def test_segments_with_empty_ones_between_are_the_same(name: str, tmp_path: Path) -> None:
    tf = tensorflow()
    result, _ = convert_function(
        lambda x: tf.map_fn(lambda row: SEGMENTS[name](tf, row), x), tmp_path, {"x": ROWS}
    )
    assert is_same(result, 1e-3 if "halves" in name else 1e-6)


@pytest.mark.parametrize("adjoint_a", [False, True])
@pytest.mark.parametrize("adjoint_b", [False, True])
def test_a_sparse_matrix_times_a_dense_one(adjoint_a: bool, adjoint_b: bool, tmp_path: Path) -> None:
    tf = tensorflow()
    graph = np.array([[0, 1.5, 0], [2, 0, 0], [0, -1, 3], [0, 0, 0]], np.float32)

    def spread(x: Any) -> Any:
        sparse = tf.sparse.from_dense(graph.T if adjoint_a else graph)
        wide = tf.transpose(x[:, 0]) if adjoint_b else x[:, 0]
        return tf.sparse.sparse_dense_matmul(sparse, wide, adjoint_a, adjoint_b)

    result, _ = convert_function(spread, tmp_path, {"x": ROWS}, {"x": ROWS.shape})
    assert is_same(result)


def test_a_depthwise_convolution_with_a_filter_for_as_many_channels_as_there_are(tmp_path: Path) -> None:
    tf = tensorflow()
    images = np.random.default_rng(1).random((3, 16, 16, 3), np.float32)
    result, _ = convert_function(lambda x: tf.image.ssim(x, x * 0.9, 1.0), tmp_path, {"x": images})
    assert is_same(result, 1e-5)
