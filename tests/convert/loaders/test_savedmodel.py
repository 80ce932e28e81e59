from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import convert, save_keras

from optimizer.convert.convert import convert_model
from optimizer.errors import InvalidDataError, InvalidModelError, InvalidOptionsError, UnsupportedModelError
from optimizer.goal import Goal
from optimizer.runtime import open_session


@pytest.fixture(scope="module")
def module() -> Any:
    """Two functions with a weight of their own."""
    import tensorflow as tf

    class Module(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
        def __init__(self) -> None:
            self.weight = tf.Variable([[1.0, -2.0], [3.0, 0.5]])

        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])  # type: ignore[untyped-decorator]  # as above
        def __call__(self, x: Any) -> dict[str, Any]:
            return {"scores": tf.nn.softmax(x @ self.weight)}

        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])  # type: ignore[untyped-decorator]  # as above
        def embed(self, x: Any) -> dict[str, Any]:
            return {"embedding": tf.tanh(x) + tf.reduce_sum(self.weight)}

    return Module()


def save(module: Any, folder: Path, signatures: dict[str, Any] | None) -> Path:
    import tensorflow as tf

    tf.saved_model.save(module, str(folder / "saved"), signatures=signatures)
    return folder / "saved"


def test_the_default_signature_is_taken_among_several(module: Any, tmp_path: Path) -> None:
    upload = save(module, tmp_path, {"serving_default": module.__call__, "embed": module.embed})
    conversion, _ = convert(upload, "savedmodel", tmp_path)
    assert conversion.signature == "serving_default"
    assert [spec.name for spec in conversion.outputs] == ["scores"]
    assert conversion.producer.startswith("TensorFlow 2.")


def test_a_second_attempt_in_the_same_workspace_succeeds(module: Any, tmp_path: Path) -> None:
    upload = save(module, tmp_path, {"serve": module.__call__})
    _, workspace = convert(upload, "savedmodel", tmp_path)
    assert convert_model(upload, "savedmodel", workspace, Goal(), None).parity is not None


def test_a_savedmodel_in_text_form_is_converted(module: Any, tmp_path: Path) -> None:
    from google.protobuf import text_format
    from tensorflow.core.protobuf import saved_model_pb2

    upload = save(module, tmp_path, {"serve": module.__call__})
    binary = upload / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(binary.read_bytes())
    (upload / "saved_model.pbtxt").write_text(text_format.MessageToString(saved_model))
    binary.unlink()
    conversion, _ = convert(upload, "savedmodel", tmp_path)
    assert [spec.name for spec in conversion.outputs] == ["scores"]


def test_the_signature_asked_for_is_converted(module: Any, tmp_path: Path) -> None:
    upload = save(module, tmp_path, {"serving_default": module.__call__, "embed": module.embed})
    _, workspace = convert(upload, "savedmodel", tmp_path, signature="embed")
    value = np.array([[0.3, -0.7]], np.float32)
    found = open_session(workspace.converted).run({"x": value})
    np.testing.assert_allclose(found["embedding"], np.tanh(value) + 2.5, rtol=1e-6)


def test_several_signatures_without_a_default_are_listed(module: Any, tmp_path: Path) -> None:
    upload = save(module, tmp_path, {"score": module.__call__, "embed": module.embed})
    with pytest.raises(InvalidOptionsError, match="embed, score"):
        convert(upload, "savedmodel", tmp_path)


def test_an_unknown_signature_is_answered_with_those_there_are(module: Any, tmp_path: Path) -> None:
    upload = save(module, tmp_path, {"score": module.__call__, "embed": module.embed})
    with pytest.raises(InvalidOptionsError, match="scor'") as caught:
        convert(upload, "savedmodel", tmp_path, signature="scor")
    assert "embed, score" in caught.value.hint


def test_without_signatures_the_only_call_function_is_converted(module: Any, tmp_path: Path) -> None:
    conversion, _ = convert(save(module, tmp_path, {}), "savedmodel", tmp_path)
    assert [spec.name for spec in conversion.inputs] == ["x"]
    assert "call function" in conversion.notes[0]


def test_without_anything_to_call_the_model_is_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.weight = tf.Variable(1.0)
    with pytest.raises(UnsupportedModelError, match="no signatures"):
        convert(save(module, tmp_path, {}), "savedmodel", tmp_path)


def test_an_output_named_like_an_input_gets_a_name_of_its_own(tmp_path: Path) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def double(x: Any) -> dict[str, Any]:
        return {"x": 2.0 * x, "same": x}

    conversion, _ = convert(save(tf.Module(), tmp_path, {"serve": double}), "savedmodel", tmp_path)
    assert {spec.name for spec in conversion.outputs} == {"x_output", "same"}


def test_an_axis_that_is_not_the_batch_is_not_called_batch(tmp_path: Path) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="x")])  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def halves(x: Any) -> dict[str, Any]:
        return {"halves": tf.reshape(x, (-1, 2)), "whole": x + 1.0}

    conversion, _ = convert(save(tf.Module(), tmp_path, {"serve": halves}), "savedmodel", tmp_path)
    assert {spec.name: spec.shape for spec in conversion.outputs} == {
        "halves": ("halves_axis0", 2),
        "whole": ("batch", 4),
    }


def test_first_axes_that_differ_in_the_samples_are_not_called_batch(tmp_path: Path) -> None:
    import tensorflow as tf

    def sums(values: Any, row_splits: Any) -> dict[str, Any]:
        return {"y": tf.reduce_sum(tf.RaggedTensor.from_row_splits(values, row_splits, validate=False), 1)}

    specs = [tf.TensorSpec((None,), tf.float32, "values"), tf.TensorSpec((None,), tf.int64, "row_splits")]
    signatures = {"serve": tf.function(sums, input_signature=specs)}
    calls = tmp_path / "calls"
    calls.mkdir()
    for number, splits in enumerate(([0, 2, 5], [0, 1, 1, 7])):
        values = np.arange(splits[-1], dtype=np.float32)
        np.savez(calls / f"{number}.npz", values=values, row_splits=np.array(splits))
    upload = save(tf.Module(), tmp_path, signatures)
    conversion, _ = convert(upload, "savedmodel", tmp_path, samples=calls)
    shapes = {spec.name: spec.shape for spec in (*conversion.inputs, *conversion.outputs)}
    assert shapes == {name: (f"{name}_axis0",) for name in ("values", "row_splits", "y")}


def test_an_operator_without_a_converter_is_named_with_its_node(tmp_path: Path) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="x")])  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def digamma(x: Any) -> dict[str, Any]:
        return {"y": tf.math.digamma(x, name="their_node")}

    with pytest.raises(UnsupportedModelError, match=r"Digamma \(node .*their_node\)"):
        convert(save(tf.Module(), tmp_path, {"serve": digamma}), "savedmodel", tmp_path)


def test_an_input_without_a_known_number_of_axes_is_named(tmp_path: Path) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="their_input")])  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def relu(x: Any) -> dict[str, Any]:
        return {"y": tf.nn.relu(x)}

    with pytest.raises(UnsupportedModelError, match="how many axes its input their_input has"):
        convert(save(tf.Module(), tmp_path, {"serve": relu}), "savedmodel", tmp_path)


def test_scalar_inputs_and_control_flow_convert(tmp_path: Path) -> None:
    import tensorflow as tf

    specs = [
        tf.TensorSpec((None, 3), tf.float32, name="x"),
        tf.TensorSpec((), tf.float32, name="limit"),
        tf.TensorSpec((), tf.bool, name="training"),
    ]

    @tf.function(input_signature=specs)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def cut(x: Any, limit: Any, training: Any) -> dict[str, Any]:
        return {"y": tf.cond(training, lambda: x, lambda: tf.minimum(x, limit))}

    conversion, _ = convert(save(tf.Module(), tmp_path, {"serve": cut}), "savedmodel", tmp_path)
    assert {spec.name: spec.shape for spec in conversion.inputs} == {
        "x": ("batch", 3),
        "limit": (),
        "training": (),
    }


def test_a_signature_without_inputs_is_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[])  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def version() -> dict[str, Any]:
        return {"version": tf.constant(1.0)}

    with pytest.raises(UnsupportedModelError, match="'serve' has no inputs"):
        convert(save(tf.Module(), tmp_path, {"serve": version}), "savedmodel", tmp_path)


def test_a_savedmodel_without_its_weights_is_told_so(module: Any, tmp_path: Path) -> None:
    upload = save(module, tmp_path, {"serving_default": module.__call__})
    shutil.rmtree(upload / "variables")
    with pytest.raises(InvalidModelError, match=r"lacks its weights: .*variables\.index"):
        convert(upload, "savedmodel", tmp_path)


@pytest.mark.parametrize("kept", [0.0, 0.6, 0.999])
def test_weights_that_are_cut_off_are_called_damaged(module: Any, tmp_path: Path, kept: float) -> None:
    upload = save(module, tmp_path, {"serving_default": module.__call__})
    [data] = (upload / "variables").glob("variables.data-*")
    data.write_bytes(data.read_bytes()[: int(kept * data.stat().st_size)])
    with pytest.raises(InvalidModelError, match=r"variables/\) are cut off"):
        convert(upload, "savedmodel", tmp_path)


def test_inputs_that_tensorflow_refuses_are_explained_by_its_reason(tmp_path: Path) -> None:
    import tensorflow as tf

    table = tf.Module()
    table.rows = tf.Variable(tf.ones((5, 2)))

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.int32, name="ids")])  # type: ignore[untyped-decorator]  # as above
    def look_up(ids: Any) -> dict[str, Any]:
        return {"rows": tf.gather(table.rows, ids)}

    upload = save(table, tmp_path, {"serving_default": look_up})
    np.savez(tmp_path / "samples.npz", ids=np.array([1, 9], np.int32))
    with pytest.raises(InvalidDataError, match=r"= 9 is not in \[0, 5\)"):
        convert(upload, "savedmodel", tmp_path, samples=tmp_path / "samples.npz")


def test_a_broken_file_is_invalid(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"\xff\xff\xff")
    with pytest.raises(InvalidModelError, match=r"saved_model\.pb"):
        convert(broken, "savedmodel", tmp_path)


def test_an_operator_that_onnx_runtime_has_in_float32_alone_is_named(tmp_path: Path) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float64, name="x")])  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def activate(x: Any) -> dict[str, Any]:
        return {"y": tf.nn.elu(x)}

    with pytest.raises(UnsupportedModelError, match=r"does not load the converted model: .* Elu") as caught:
        convert(save(tf.Module(), tmp_path, {"serve": activate}), "savedmodel", tmp_path)
    assert "float32" in caught.value.hint


def test_a_recurrent_layer_of_float64_is_refused_with_the_way_out(tmp_path: Path) -> None:
    import keras

    value = keras.Input((5, 3), dtype="float64")
    upload = save_keras(keras.Model(value, keras.layers.LSTM(4, dtype="float64")(value)), tmp_path)
    with pytest.raises(UnsupportedModelError, match="does not support double") as caught:
        convert(upload, "keras", tmp_path)
    assert caught.value.hint.startswith("Save the model in float32")
