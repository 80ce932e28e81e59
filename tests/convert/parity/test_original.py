from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from keras_models import cnn, convert, save_keras, two_in_two_out

from optimizer.convert.parity.original import load_original
from optimizer.errors import InvalidDataError, InvalidModelError
from optimizer.runtime import open_session

OPEN = """
import sys
from pathlib import Path
import numpy
import tensorflow
from optimizer.convert.parity.original import open_original
from optimizer.results import Conversion
from optimizer.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]))
original = open_original(workspace, workspace.read("convert", Conversion), threads=1)
result = original.run({"image": numpy.ones((2, 8, 8, 3), "float32")})
threading = tensorflow.config.threading
print(threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads(), *result)
"""


def test_tensorflow_runs_with_the_threads_asked_for_and_the_names_of_the_onnx_file(tmp_path: Path) -> None:
    conversion, workspace = convert(save_keras(cnn(), tmp_path), "keras", tmp_path)
    workspace.write("convert", conversion)
    command = [sys.executable, "-c", OPEN, str(workspace.folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["1", "1", "digit"]


def test_the_original_computes_what_the_live_model_computes(tmp_path: Path) -> None:
    model = two_in_two_out()
    conversion, workspace = convert(save_keras(model, tmp_path), "keras", tmp_path)
    feeds = {"wide": np.ones((2, 4), np.float32), "narrow": np.full((2, 2), 2.0, np.float32)}
    found = load_original(workspace.original, "TensorFlow", conversion.signature).run(feeds)
    for name, expected in model(feeds).items():
        np.testing.assert_array_equal(found[name], expected.numpy())


def test_inputs_that_the_original_refuses_are_invalid_data(tmp_path: Path) -> None:
    conversion, workspace = convert(save_keras(cnn(), tmp_path), "keras", tmp_path)
    original = load_original(workspace.original, "TensorFlow", conversion.signature)
    with pytest.raises(InvalidDataError, match="TensorFlow"):
        original.run({"image": np.zeros((1, 5, 5, 1), np.float32)})


def test_a_model_that_the_fusions_of_onednn_break_is_converted(tmp_path: Path) -> None:
    import keras

    x = keras.Input((4,), name="x")
    h = keras.layers.Dense(4)(x)
    model = keras.Model(x, keras.layers.Maximum()([h, h * 2]))  # no LeakyRelu, since 2 > 1
    feeds = {"x": np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)}
    _, workspace = convert(save_keras(model, tmp_path), "keras", tmp_path)
    (found,) = open_session(workspace.converted).run(feeds).values()
    np.testing.assert_allclose(found, model(feeds["x"]).numpy(), atol=1e-5)


IDENTITY = '<ir_version: 8, opset_import: ["" : 17]> m (float[n, 2] x) => (float[n, 2] y) { y = Neg (x) }'


def test_an_onnx_upload_is_copied_and_needs_no_original(tmp_path: Path) -> None:
    upload = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(IDENTITY), upload)
    conversion, workspace = convert(upload, "onnx", tmp_path)
    assert (conversion.runtime, conversion.parity) == ("ONNX Runtime", None)
    assert workspace.converted.read_bytes() == upload.read_bytes()
    assert not workspace.original.exists()


@pytest.mark.parametrize("content", [b"\xff" * 30, b""])
def test_a_broken_onnx_upload_is_invalid(content: bytes, tmp_path: Path) -> None:
    upload = tmp_path / "model.onnx"
    upload.write_bytes(content)
    with pytest.raises(InvalidModelError, match=r"model\.onnx"):
        convert(upload, "onnx", tmp_path)
