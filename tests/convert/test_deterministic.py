"""One model gives the same bytes each time: a stage that runs again must not change what follows from it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CONVERT = (
    "import sys; from pathlib import Path; "
    "from optimizer.convert.tf2onnx_tool import convert_savedmodel; "
    "model = convert_savedmodel(Path(sys.argv[1]), sys.argv[2], Path('model.onnx')); "
    "sys.stdout.buffer.write(model.SerializeToString(deterministic=True))"
)


def converted_twice(folder: Path, signature: str) -> tuple[bytes, bytes]:
    """By two processes whose sets of names have other orders, as their sets of nodes have anyway."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", CONVERT, str(folder), signature],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for seed in ("1", "2")
    ]
    first, second = (process.communicate(timeout=120)[0] for process in started)
    return first, second


def test_a_published_model_gives_the_same_bytes(real_model: Callable[[str], Path]) -> None:
    first, second = converted_twice(real_model("basic-pitch"), "serving_default")
    assert len(first) > 100_000
    assert first == second


@pytest.fixture(scope="module")
def branching(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Attention, whose einsums get names, and transposed branches, of which tf2onnx merges what is double."""
    import keras
    from keras import layers

    image = keras.Input((8, 8, 4))
    left = layers.Conv2DTranspose(4, 3, strides=2, padding="same")(image)
    right = layers.UpSampling2D()(layers.ZeroPadding2D(1)(layers.Conv2D(4, 3)(image)))
    rows = layers.Reshape((64, 16))(layers.Concatenate()([left, right])[:, :, :, :4])
    attended = layers.MultiHeadAttention(2, 8)(rows, rows)
    folder = tmp_path_factory.mktemp("branching") / "saved"
    keras.Model(image, layers.Flatten()(attended)).export(str(folder), verbose=False)
    return folder


def test_a_model_with_einsums_and_branches_gives_the_same_bytes(branching: Path) -> None:
    first, second = converted_twice(branching, "serve")
    assert len(first) > 1_000
    assert first == second
