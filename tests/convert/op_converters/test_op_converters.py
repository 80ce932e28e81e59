"""Each converter of ours against TensorFlow, on inputs on both sides of every case."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from keras_models import convert, operators, save_keras
from op_models import convert_function, is_same, save_function

from optimizer.convert.parity.original import load_original
from optimizer.runtime import open_session

INFINITY, NAN = np.inf, np.nan
VALUES = np.array([[-3.0, -0.7, -1e-4, 0.0], [1e-4, 0.5, 1.0, 4.0]], np.float32)
INTEGERS = np.array([[-7, -1, 0, 3], [8, 2147483647, -2147483648, 100]], np.int32)
ROWS = {"x": VALUES}


def tensorflow() -> Any:
    import tensorflow

    return tensorflow


FLOATS: dict[str, Callable[[Any, Any], Any]] = {
    "erfc": lambda tf, x: tf.math.erfc(x),
    "euclidean_norm": lambda tf, x: tf.math.reduce_euclidean_norm(x, axis=-1, keepdims=True),
    "l2_loss": lambda tf, x: tf.map_fn(tf.nn.l2_loss, x),
    "floor_mod": lambda tf, x: tf.math.floormod(x, -0.7),
    "floor_div": lambda tf, x: tf.math.floordiv(x, -0.7),
    "truncate_mod": lambda tf, x: tf.truncatemod(x, 0.7),
    "bucketize": lambda tf, x: tf.raw_ops.Bucketize(input=x, boundaries=[-0.7, 0.0, 0.5, 2.0]),
    "bucketize without boundaries": lambda tf, x: tf.raw_ops.Bucketize(input=x, boundaries=[]),
    "lower_bound": lambda tf, x: tf.searchsorted(tf.sort(x), x),
    "upper_bound": lambda tf, x: tf.searchsorted(tf.sort(x), x, side="right"),
    "argmax of keras": lambda tf, x: keras_ops().argmax(x, axis=-1),
    "linspace of tensors": lambda tf, x: tf.linspace(x[:, 0], x[:, 1], 5),
    "where beside infinity": lambda tf, x: tf.where(x > 0, tf.math.log(x), 0.0),
    "where beside NaN": lambda tf, x: tf.where(x < 0, -1.0, tf.sqrt(x) / x),
    "select of rows": lambda tf, x: tf.raw_ops.Select(condition=x[:, 0] > 0, x=x, y=1 / x),
    "one-hot of float16": lambda tf, x: tf.one_hot(tf.cast(x, tf.int32), 4, dtype=tf.float16),
}


def keras_ops() -> Any:
    from keras import ops

    return ops


@pytest.mark.parametrize("name", FLOATS)
def test_a_function_of_floats_is_the_same(name: str, tmp_path: Path) -> None:
    tf = tensorflow()
    result, _ = convert_function(lambda x: FLOATS[name](tf, x), tmp_path, ROWS)
    assert is_same(result)


WHOLE: dict[str, Callable[[Any, Any], Any]] = {
    "floor_div by a negative": lambda tf, x: tf.math.floordiv(x, -3),
    "floor_div": lambda tf, x: tf.math.floordiv(x, 3),
    "floor_mod by a negative": lambda tf, x: tf.math.floormod(x, -3),
    "floor_mod": lambda tf, x: tf.math.floormod(x, 3),
    "truncate_mod": lambda tf, x: tf.truncatemod(x, 3),
    "and with runs": lambda tf, x: tf.bitwise.bitwise_and(x, 0b1011001),
    "and with a negative": lambda tf, x: tf.bitwise.bitwise_and(x, -8),
    "and with nothing": lambda tf, x: tf.bitwise.bitwise_and(x, 0),
    "or": lambda tf, x: tf.bitwise.bitwise_or(x, 6),
    "xor": lambda tf, x: tf.bitwise.bitwise_xor(x, 6),
    "invert": lambda tf, x: tf.bitwise.invert(x),
    "unsigned and back": lambda tf, x: tf.bitcast(tf.bitcast(x, tf.uint32), tf.int32),
    "bucketize": lambda tf, x: tf.raw_ops.Bucketize(input=x, boundaries=[-1.0, 0.0, 3.0, 16777217.0]),
    "one-hot": lambda tf, x: tf.one_hot(x, 4, dtype=tf.int32),
    "one-hot along axis 1": lambda tf, x: tf.one_hot(x, 4, axis=1, dtype=tf.int64),
    "one-hot of booleans": lambda tf, x: tf.one_hot(x, 4, on_value=False, off_value=True, dtype=tf.bool),
    "one-hot of other values": lambda tf, x: tf.one_hot(x, 4, on_value=2.5, off_value=-1.0),
    "where of booleans": lambda tf, x: tf.where(x > 0, x > 5, x < -5),
    "where of int16": lambda tf, x: tf.where(x > 0, tf.cast(x, tf.int16), tf.int16.max),
    "where of uint64": lambda tf, x: tf.where(x > 0, tf.cast(x, tf.uint64), tf.uint64.max),
    "where of large int64": lambda tf, x: tf.where(x > 0, tf.cast(x, tf.int64) * 2**31 + 1, -(2**62) - 1),
    "broadcast of shapes": lambda tf, x: tf.broadcast_dynamic_shape(tf.shape(x), tf.shape(x)[1:])[None],
    "shapes of several": lambda tf, x: tf.raw_ops.ShapeN(input=[x, x[:, 0]])[0][None],
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_function_of_integers_is_equal(name: str, tmp_path: Path) -> None:
    tf = tensorflow()
    result, _ = convert_function(lambda x: WHOLE[name](tf, x), tmp_path, {"x": INTEGERS})
    assert is_same(result)


@pytest.mark.parametrize(
    ("classes", "depth", "dtype", "operator"),
    [(5, 5, "float32", "Gather"), (5, 9, "bool", "Gather"), (5, 4, "int32", "Equal")],
)
def test_one_hot_rows_of_what_cannot_lie_outside_are_one_gather(
    classes: int, depth: int, dtype: str, operator: str, tmp_path: Path
) -> None:
    tf = tensorflow()
    rows = {"x": np.random.default_rng(0).random((3, 2, classes), np.float32)}

    def hot(x: Any) -> Any:
        on, off = (False, True) if dtype == "bool" else (3, -1)
        return tf.one_hot(tf.argmax(x, -1), depth, on_value=on, off_value=off, dtype=dtype)

    result, workspace = convert_function(hot, tmp_path, rows)
    assert is_same(result)
    operators = {node.op_type for node in onnx.load(workspace.converted).graph.node}
    assert operators & {"Gather", "Equal"} == {operator}


@pytest.mark.parametrize("function", ["log1p", "expm1"])
def test_log1p_and_expm1_are_exact_next_to_zero_and_keep_infinities(function: str, tmp_path: Path) -> None:
    tf = tensorflow()
    edges = [-INFINITY, INFINITY, NAN, -1.0, 1e38, 88.0, -0.0]
    tiny = [1e-30, -1e-30, 1e-10, -1e-7, 3e-8, 1e-4, -0.3, 0.7, 0.999, 1.001]
    values = np.array([edges + tiny], np.float32)
    if function == "log1p":
        values = values[:, 1:]  # both give NaN for -infinity, in other places of the sign bit
    upload = save_function(lambda x: getattr(tf.math, function)(x), tmp_path, {"x": values})
    _, workspace = convert(upload, "savedmodel", tmp_path)
    ours = open_session(workspace.converted).run({"x": values})["y"]
    theirs = load_original(workspace.original, "TensorFlow", "serving_default").run({"x": values})["y"]
    np.testing.assert_allclose(ours, theirs, rtol=5e-7, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", ["xlogy", "xdivy", "multiply_no_nan"])
def test_zero_wins_over_infinity(name: str, tmp_path: Path) -> None:
    tf = tensorflow()
    inputs = {
        "x": np.array([[0.0, 0.0, 2.0, 0.0, -3.0, 0.0]], np.float32),
        "z": np.array([[0.0, 5.0, 0.5, 98.0, 2.0, 99.0]], np.float32),
    }

    def function(x: Any, z: Any) -> Any:
        z = tf.where(z == 98.0, NAN, tf.where(z == 99.0, INFINITY, z))  # samples hold neither
        return tf.math.multiply_no_nan(z, x) if name == "multiply_no_nan" else getattr(tf.math, name)(x, z)

    result, _ = convert_function(function, tmp_path, inputs)
    assert is_same(result)


@pytest.mark.parametrize(("weighted", "binary"), [(False, False), (False, True), (True, False)])
def test_bins_are_counted_by_row_and_what_is_too_large_is_left_out(
    weighted: bool, binary: bool, tmp_path: Path
) -> None:
    tf = tensorflow()
    numbers = np.array([[0, 3, 3, 9], [5, 5, 5, 0]], np.int32)

    def count(x: Any) -> Any:
        weights = tf.cast(x, tf.float32) * 0.5 if weighted else None
        options = {"minlength": 6, "maxlength": 6, "axis": -1, "binary_output": binary}
        return tf.math.bincount(x, weights=weights, **options)

    result, _ = convert_function(count, tmp_path, {"x": numbers})
    assert is_same(result)


def test_the_sign_of_zero_decides_an_argmax_as_in_keras(tmp_path: Path) -> None:
    values = np.array([[-0.0, 0.0, -1.0], [-1e38, -0.0, -2.0]], np.float32)
    result, _ = convert_function(lambda x: keras_ops().argmax(x, axis=-1), tmp_path, {"x": values})
    assert is_same(result)


def test_quantization_aware_training_by_channel_becomes_quantize_and_dequantize(tmp_path: Path) -> None:
    tf = tensorflow()
    values = np.linspace(-4, 4, 64, dtype=np.float32).reshape(4, 16)
    low = np.linspace(-3, -0.1, 16, dtype=np.float32)
    for narrow in (False, True):
        folder = tmp_path / str(narrow)
        folder.mkdir()

        def fake(x: Any, narrow: bool = narrow) -> Any:
            operator = tf.quantization.fake_quant_with_min_max_vars_per_channel
            return operator(x, low, 1 - low, narrow_range=narrow)

        result, workspace = convert_function(fake, folder, {"x": values})
        assert is_same(result)
        assert {"QuantizeLinear", "DequantizeLinear"} <= operators(workspace)


@pytest.mark.parametrize("mode", ["int", "multi_hot", "count"])
@pytest.mark.parametrize("layer", ["IntegerLookup", "StringLookup"])
def test_lookup_tables_convert(layer: str, mode: str, tmp_path: Path) -> None:
    import keras

    words: list[Any] = [500, 7, 11] if layer == "IntegerLookup" else ["ccc", "a", "bb"]
    dtype = "int64" if layer == "IntegerLookup" else "string"
    table = getattr(keras.layers, layer)(vocabulary=words, output_mode=mode)
    model = keras.Sequential([keras.Input((3,), dtype=dtype, name="word"), table])
    rows = np.array([[words[1], words[0], words[0]], [words[2], words[1], words[2]]])
    rows[0, 2] = 9 if layer == "IntegerLookup" else "unknown"[:3]
    np.savez(tmp_path / "samples.npz", word=rows)
    conversion, workspace = convert(
        save_keras(model, tmp_path), "keras", tmp_path, samples=tmp_path / "samples.npz"
    )
    assert conversion.parity is not None
    result = conversion.parity.outputs[0]
    assert is_same(result)
    attributes = [a for node in onnx.load(workspace.converted).graph.node for a in node.attribute]
    [keys] = [a for a in attributes if a.name in ("keys_int64s", "cats_strings")]
    assert [*keys.ints, *(text.decode() for text in keys.strings)] == sorted(words)


@pytest.mark.parametrize(
    ("keys", "values", "default"),
    [
        (["a", "b"], [1.5, -2.0], 9.0),
        (["a", "b"], ["x", "y"], "none"),
        ([4, -1], ["x", "y"], "none"),
        ([4, -1], [0.25, 8.0], -1.0),
    ],
    ids=["string to float", "string to string", "integer to string", "integer to float"],
)
def test_a_table_of_any_pair_of_types_converts(
    keys: list[Any], values: list[Any], default: Any, tmp_path: Path
) -> None:
    tf = tensorflow()
    known = tf.constant(keys, None if isinstance(keys[0], str) else tf.int64)
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(known, tf.constant(values)), default
    )
    module = tf.Module()
    module.table = table
    spec = tf.TensorSpec((None, 3), known.dtype, name="key")
    serve = tf.function(lambda key: {"y": table.lookup(key)}, input_signature=[spec])
    module.serve = serve
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=serve)
    unknown = "zz" if isinstance(keys[0], str) else 77
    np.savez(tmp_path / "samples.npz", key=np.array([[keys[1], unknown, keys[0]]] * 2))
    samples = tmp_path / "samples.npz"
    conversion, _ = convert(tmp_path / "saved", "savedmodel", tmp_path, samples=samples)
    assert conversion.parity is not None
    assert is_same(conversion.parity.outputs[0])


@pytest.mark.parametrize("first", ["optimizer.convert.op_converters.counting", "tf2onnx.tfonnx"])
def test_our_converters_replace_those_of_tf2onnx_whichever_is_imported_first(first: str) -> None:
    """Of two converters with one version number the later registration counts."""
    code = (
        f"import {first}, optimizer.convert.op_converters\n"
        "from tf2onnx.handler import tf_op\n"
        "print(tf_op.create_mapping(17, None)['OneHot'][0].__module__)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.split()[-1] == "optimizer.convert.op_converters.counting"
