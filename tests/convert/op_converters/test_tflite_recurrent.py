"""TFLite's fused LSTM becomes ONNX's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tflite_files import empty_model, run_both

from optimizer.convert.parity.original import TfliteOriginal

STEPS, INPUTS, UNITS = 7, 5, 6
X = np.random.default_rng(0).normal(size=(2, STEPS, INPUTS)).astype(np.float32)


def lstm(path: Path, *, time_major: bool = False, peepholes: bool = False) -> Path:
    """Write a TFLite file that holds nothing but UNIDIRECTIONAL_SEQUENCE_LSTM."""
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    from optimizer.convert.tflite_graph.flat_graph import FlatGraph

    (model, graph), options = empty_model(), schema.UnidirectionalSequenceLSTMOptionsT()
    flat, generator = FlatGraph(model, graph), np.random.default_rng(1)

    def weight(*shape: int) -> int:
        value = generator.normal(0, 0.5, shape).astype(np.float32)
        return flat.constant(f"weight{len(graph.tensors)}", value)

    shape = (STEPS, 2) if time_major else (2, STEPS)
    x, y = flat.tensor("x0", [*shape, INPUTS]), flat.tensor("y", [*shape, UNITS])
    weights = [weight(UNITS, INPUTS) for _ in range(4)] + [weight(UNITS, UNITS) for _ in range(4)]
    looks = [weight(UNITS) for _ in range(3)] if peepholes else [-1] * 3
    biases = [weight(UNITS) for _ in range(4)]
    states = [flat.tensor(name, [2, UNITS]) for name in ("state", "cell")]
    for state in states:
        graph.tensors[state].isVariable = True
    options.fusedActivationFunction, options.cellClip = schema.ActivationFunctionType.TANH, 10.0
    options.timeMajor = time_major
    taken = [x, *weights, *looks, *biases, -1, -1, *states, -1, -1, -1, -1]
    kind = "UNIDIRECTIONAL_SEQUENCE_LSTM"
    graph.operators = [flat.operator(kind, taken, [y], ("UnidirectionalSequenceLSTMOptions", options))]
    graph.inputs, graph.outputs = np.array([x], np.int32), np.array([y], np.int32)
    path.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    return path


@pytest.mark.parametrize("time_major", [False, True], ids=["batch first", "steps first"])
@pytest.mark.parametrize("peepholes", [False, True], ids=["plain", "peepholes"])
def test_a_fused_lstm_computes_what_the_interpreter_computes(
    peepholes: bool, time_major: bool, tmp_path: Path
) -> None:
    path = lstm(tmp_path / "lstm.tflite", time_major=time_major, peepholes=peepholes)
    _, expected, found = run_both(path, [X.swapaxes(0, 1).copy() if time_major else X])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.ptp(expected) > 0.1


def test_the_state_of_the_upload_is_reset_before_each_call(tmp_path: Path) -> None:
    original = TfliteOriginal(lstm(tmp_path / "lstm.tflite"), 1)
    first, second = (original.run({"x0": X})["y"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.ptp(first) > 0.1


def test_a_layer_that_hands_its_sequence_to_another_converts(tmp_path: Path) -> None:
    import keras
    import tensorflow as tf
    from keras_models import convert

    layers = keras.layers
    steps = keras.Input((STEPS, INPUTS), batch_size=1)
    model = keras.Model(steps, layers.GRU(4)(layers.LSTM(UNITS, return_sequences=True)(steps)))
    (tmp_path / "model.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    conversion, _ = convert(tmp_path / "model.tflite", "tflite", tmp_path)
    assert conversion.parity is not None
    assert conversion.parity.outputs[0].value < 1e-6
