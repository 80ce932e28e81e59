"""Text operators through onnxruntime-extensions against TensorFlow, on texts easily read otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import save_keras
from op_models import save_function

from optimizer.convert.convert import convert_model
from optimizer.convert.parity.original import load_original
from optimizer.data import generate_inputs
from optimizer.errors import UnsupportedModelError
from optimizer.goal import Goal
from optimizer.results import Conversion, TensorSpec
from optimizer.runtime import open_session
from optimizer.workspace import Workspace

WITH_LIBRARY = Goal(onnxruntime_extensions=True)
WORDS = ("the", "cat", "sat", "über", "café", "Mat", "b", "日本語")
TEXTS = ["The cat sat, on the Mat!", "über café", "a b the", "日本語 b"]


def workspace_in(folder: Path) -> Workspace:
    (folder / "workspace").mkdir()
    return Workspace(folder / "workspace")


FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "lower": lambda tf, x: tf.strings.lower(x),
    "upper": lambda tf, x: tf.strings.upper(x),
    "strip": lambda tf, x: tf.strings.strip(x),
    "replace": lambda tf, x: tf.strings.regex_replace(x, r"(\w)[,.!]", r"\1-"),
    "replace once": lambda tf, x: tf.strings.regex_replace(x, r"\s+", "", replace_global=False),
    "split at whitespace": lambda tf, x: tf.strings.split(x).to_tensor("~"),
    "split at commas": lambda tf, x: tf.strings.split(x, ",").to_tensor("~"),
    "split at backslashes": lambda tf, x: tf.strings.split(x, "\\").to_tensor("~"),
    "split as in TensorFlow 1": lambda tf, x: tf.compat.v1.string_split(x, ", ").values,
    "join": lambda tf, x: tf.strings.join([x, "constant", tf.strings.lower(x)], "-"),
    "join rows": lambda tf, x: tf.strings.reduce_join(tf.stack([x, x, x], 1), axis=1, separator="|"),
    "join columns": lambda tf, x: tf.strings.reduce_join(tf.stack([x, x], 1), 0, keepdims=True),
    "join parts": lambda tf, x: tf.strings.join([tf.strings.split(x).values, "s"]),
    "equal": lambda tf, x: tf.stack([x == "", x != "a", tf.constant("日本語 テキスト") == x]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_texts_is_the_same(name: str, tmp_path: Path) -> None:
    import tensorflow as tf

    inputs = {"x": np.array(["a"], object)}
    saved = save_function(lambda x: FUNCTIONS[name](tf, x), tmp_path, inputs)
    workspace = workspace_in(tmp_path)
    conversion = convert_model(saved, "savedmodel", workspace, WITH_LIBRARY, None)
    spec = (TensorSpec(name="x", dtype="object", shape=(None,)),)
    original = load_original(workspace.original, conversion.runtime, conversion.signature)
    feeds = generate_inputs(spec, 200, 1, WORDS)
    (theirs,), (ours,) = original.run(feeds).values(), open_session(workspace.converted).run(feeds).values()
    plain = [value.decode() if isinstance(value, bytes) else value for value in theirs.ravel()]
    assert ours.ravel().tolist() == plain
    assert ours.shape == theirs.shape


def text_model(**options: Any) -> Any:
    import keras

    words = keras.layers.TextVectorization(**options)
    words.adapt(TEXTS)
    text = keras.Input((), dtype="string", name="text")
    values = words(text)
    if options.get("output_mode", "int") == "int":
        values = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(30, 4)(values))
    return keras.Model(text, keras.layers.Dense(2)(values))


def convert(model: Any, folder: Path, goal: Goal) -> tuple[Conversion, Workspace]:
    workspace = workspace_in(folder)
    return convert_model(save_keras(model, folder), "keras", workspace, goal, None), workspace


LAYERS: dict[str, dict[str, Any]] = {
    "of a fixed length": {"output_sequence_length": 6},
    "weighted": {"output_mode": "tf_idf", "standardize": "lower"},
    "present or not": {"output_mode": "multi_hot", "standardize": "strip_punctuation"},
}


@pytest.mark.parametrize("name", LAYERS)
def test_vectorized_text_converts_when_asked_for(name: str, tmp_path: Path) -> None:
    conversion, _ = convert(text_model(**LAYERS[name]), tmp_path, WITH_LIBRARY)
    assert "StringSplit" in conversion.custom_operators
    assert any("onnxruntime-extensions" in note for note in conversion.notes)


def test_text_is_refused_with_the_option_that_converts_it(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="first numbers after these are") as caught:
        convert(text_model(output_sequence_length=6), tmp_path, Goal())
    assert "--onnxruntime-extensions" in caught.value.hint


def test_a_lookup_needs_no_library(tmp_path: Path) -> None:
    import keras

    text = keras.Input((2,), dtype="string", name="text")
    layer = keras.layers.StringLookup(vocabulary=list(WORDS), mask_token="")
    rows = keras.layers.Flatten()(keras.layers.Embedding(12, 3)(layer(text)))
    conversion, _ = convert(keras.Model(text, rows), tmp_path, WITH_LIBRARY)
    assert conversion.custom_operators == ()


def test_hashes_are_refused_since_the_library_hashes_otherwise(tmp_path: Path) -> None:
    import keras

    text = keras.Input((2,), dtype="string", name="text")
    model = keras.Model(text, keras.layers.Hashing(8)(text))
    with pytest.raises(UnsupportedModelError, match="no converter for StringToHashBucketFast") as caught:
        convert(model, tmp_path, WITH_LIBRARY)
    assert "--onnxruntime-extensions" not in caught.value.hint
