"""What answers otherwise from call to call is refused by the name of the operator that does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from keras_models import convert
from op_models import save_function

from optimizer.convert.triage.effects import find_effects
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
