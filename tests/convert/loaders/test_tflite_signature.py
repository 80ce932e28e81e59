from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import convert, operators

from optimizer.convert.parity.original import open_original
from optimizer.errors import InvalidOptionsError
from optimizer.runtime import open_session

ROWS = np.array([[1.0, -2.0, 3.0, 0.5], [0.0, 4.0, -1.0, 2.0]], np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """several.tflite with the signatures `loop` and `scale`, choice.tflite with one; both call graphs."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("files")
    spec = tf.TensorSpec((2, 4), tf.float32, name="x")

    def loop(x: Any) -> dict[str, Any]:
        step = lambda i, y: (i + 1, y * 1.5 + 1.0)  # noqa: E731
        return {"looped": tf.while_loop(lambda i, y: i < 4, step, [tf.constant(0), x])[1]}

    def scale(x: Any) -> dict[str, Any]:
        return {"scaled": x * 3.0}

    def choice(x: Any) -> dict[str, Any]:
        return {"chosen": tf.cond(tf.reduce_sum(x) > 0, lambda: x * 2.0, lambda: x - 1.0)}

    for name, functions in (("several", (loop, scale)), ("choice", (choice,))):
        module = tf.Module()
        module.calls = [tf.function(f, input_signature=[spec], autograph=False) for f in functions]
        signatures = {f.__name__: call for f, call in zip(functions, module.calls, strict=True)}
        tf.saved_model.save(module, str(folder / name), signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(folder / name), signature_keys=list(signatures)
        )
        (folder / f"{name}.tflite").write_bytes(converter.convert())
    return folder


@pytest.mark.parametrize(
    ("signature", "output", "expected"),
    [("scale", "scaled", ROWS * 3), ("loop", "looped", ROWS * 1.5**4 + (1.5**4 - 1) / 0.5)],
)
def test_the_signature_asked_for_is_converted(
    signature: str, output: str, expected: Any, files: Path, tmp_path: Path
) -> None:
    conversion, workspace = convert(files / "several.tflite", "tflite", tmp_path, signature=signature)
    assert conversion.signature == signature
    assert ("Loop" in operators(workspace)) == (signature == "loop")
    original = open_original(workspace, conversion, threads=1).run({"x": ROWS})
    converted = open_session(workspace.converted).run({"x": ROWS})
    np.testing.assert_allclose(original[output], expected, rtol=1e-6)
    np.testing.assert_allclose(converted[output], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("signature", "said"), [(None, "several signatures"), ("other", "no signature 'other'")]
)
def test_all_signatures_are_listed_where_none_is_meant(
    signature: str | None, said: str, files: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidOptionsError, match=said) as caught:
        convert(files / "several.tflite", "tflite", tmp_path, signature=signature)
    assert "loop, scale" in caught.value.message + caught.value.hint
    assert signature is not None or "--signature" in caught.value.hint


def test_a_choice_between_graphs_becomes_an_if(files: Path, tmp_path: Path) -> None:
    conversion, workspace = convert(files / "choice.tflite", "tflite", tmp_path)
    assert conversion.signature == "choice"
    assert "If" in operators(workspace)
    session = open_session(workspace.converted)
    for rows in (ROWS, -ROWS):
        expected = rows * 2 if rows.sum() > 0 else rows - 1
        np.testing.assert_allclose(session.run({"x": rows})["chosen"], expected, rtol=1e-6)
