"""What answers otherwise from call to call is refused by the name of the operator that does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from keras_models import convert, save_keras
from op_models import save_function

from optimizer.convert.triage.effects import find_effects
from optimizer.convert.triage.unconvertible import read_wiring
from optimizer.errors import UnsupportedModelError


def drawing(x: Any) -> Any:
    import tensorflow as tf

    return x + tf.random.normal(tf.shape(x))


def test_random_numbers_are_named(tmp_path: Path) -> None:
    import tensorflow as tf

    upload = save_function(drawing, tmp_path, {"x": tf.TensorSpec((None, 4), tf.float32)})
    with pytest.raises(UnsupportedModelError, match=r"RandomStandardNormal \(node .*other numbers") as caught:
        convert(upload, "savedmodel", tmp_path)
    assert caught.value.hint.startswith("Random numbers")


def test_a_variable_that_is_written_is_named(tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.count = tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="x")])  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def counting(x: Any) -> dict[str, Any]:
        module.count.assign_add(1.0)
        return {"y": x + module.count}

    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=counting)
    with pytest.raises(UnsupportedModelError, match=r"AssignAddVariableOp .*next call reads") as caught:
        convert(tmp_path / "saved", "savedmodel", tmp_path)
    assert caught.value.hint.startswith("State that the model writes")


def test_what_loads_the_variables_of_a_model_is_no_effect(tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.weight = tf.Variable(tf.ones((4, 3)))

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="x")])  # type: ignore[untyped-decorator]  # as above
    def product(x: Any) -> dict[str, Any]:
        return {"y": x @ module.weight + tf.random.stateless_normal((3,), seed=(1, 2))}

    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=product)
    assert find_effects(tmp_path / "saved", "serving_default") is None


def test_a_variable_that_no_output_reads_is_no_effect(tmp_path: Path) -> None:
    import keras

    steps = keras.Input((10, 4))
    last = keras.layers.LSTM(6, recurrent_dropout=0.2)(steps)  # counts the masks that it draws, used or not
    conversion, workspace = convert(save_keras(keras.Model(steps, last), tmp_path), "keras", tmp_path)
    operators = {
        node.operator for node in read_wiring(workspace.original, conversion.signature).nodes.values()
    }
    assert "AssignVariableOp" in operators
    assert find_effects(workspace.original, conversion.signature) is None
