"""Small Keras 3 models, and the convert stage on a file, for the tests of conversion."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optimizer.convert.convert import convert_model
from optimizer.external_data import PROTO_BYTES
from optimizer.goal import Goal
from optimizer.results import Conversion, Format
from optimizer.workspace import Workspace


def convert(
    upload: Path,
    format: Format,
    folder: Path,
    *,
    samples: Path | None = None,
    largest_bytes: int = PROTO_BYTES,
    **wanted: Any,
) -> tuple[Conversion, Workspace]:
    """Convert a file in a workspace of its own, with some fields of a Goal."""
    workspace = Workspace(folder / f"{upload.name}.workspace")
    workspace.folder.mkdir()
    return convert_model(upload, format, workspace, Goal(**wanted), samples, largest_bytes), workspace


def seeded(make: Callable[[], Any]) -> Callable[[], Any]:
    """The same model at every call."""

    @functools.wraps(make)
    def build() -> Any:
        import keras

        keras.utils.set_random_seed(7)
        return make()

    return build


def save_keras(model: Any, folder: Path, name: str = "model.keras") -> Path:
    """Save a Keras model; the ending of the name chooses the format."""
    path = folder / name
    model.save(path)
    return path


def operators(workspace: Workspace) -> set[str]:
    """The operators of a converted model, those of nested graphs included."""
    import onnx

    def of(graph: onnx.GraphProto) -> set[str]:
        found = {node.op_type for node in graph.node}
        nested = (a.g for node in graph.node for a in node.attribute if a.HasField("g"))
        return found.union(*map(of, nested))

    return of(onnx.load(str(workspace.converted)).graph)


def optimized_operators(path: Path, folder: Path) -> list[str]:
    """What ONNX Runtime makes of a file."""
    import onnx
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node]


@seeded
def cnn() -> Any:
    """Convolution, BatchNormalization (not at its initial values), Softmax."""
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image"),
            layers.Conv2D(4, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax", name="digit"),
        ]
    )
    model.layers[1].set_weights([weight + 0.5 for weight in model.layers[1].get_weights()])
    return model


@seeded
def grouped_cnn() -> Any:
    """Keras marks a grouped convolution for XLA."""
    import keras
    from keras import layers

    return keras.Sequential([keras.Input((8, 8, 4)), layers.Conv2D(8, 3, groups=2), layers.Flatten()])


@seeded
def gelu_mlp() -> Any:
    """Exact GELU and LayerNormalization over a sequence."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((5, 6)),
            layers.Dense(7, activation="gelu"),
            layers.LayerNormalization(),
            layers.GlobalAveragePooling1D(),
        ]
    )


@seeded
def text_lstm() -> Any:
    """Integer ids, Embedding, LSTM, Sigmoid."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((6,), dtype="int32", name="ids"),
            layers.Embedding(20, 4),
            layers.LSTM(5),
            layers.Dense(1, activation="sigmoid", name="score"),
        ]
    )


@seeded
def augmented() -> Any:
    """Random layers that are active in training alone."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.RandomFlip(),
            layers.RandomRotation(0.2),
            layers.GaussianNoise(1.0),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


@seeded
def two_in_two_out() -> Any:
    """Dicts of inputs and outputs, whose order differs from the alphabet's."""
    import keras
    from keras import layers

    wide, narrow = keras.Input((4,), name="wide"), keras.Input((2,), name="narrow")
    both = layers.Concatenate()([wide, narrow])
    outputs = {"z": layers.Dense(3)(both), "a": layers.Dense(3)(both)}
    return keras.Model({"wide": wide, "narrow": narrow}, outputs)


@seeded
def twelve_outputs() -> Any:
    """Outputs whose numbers sort differently as text."""
    import keras
    from keras import layers

    value = keras.Input((2,), name="x")
    return keras.Model(value, [layers.Dense(2, name=f"y_{number}")(value) for number in range(12)])


@seeded
def preprocessing() -> Any:
    """log(1 + x), exp(x) - 1 and Discretization."""
    import keras
    from keras import layers, ops

    value = keras.Input((4,), name="x")
    buckets = layers.Discretization(bin_boundaries=[0.0, 0.2, 0.5, 0.9])(value)
    return keras.Model(value, {"log": ops.log1p(value), "exp": ops.expm1(value), "bucket": buckets})


MODELS: dict[str, Callable[[], Any]] = {
    make.__name__: make
    for make in (
        cnn,
        grouped_cnn,
        gelu_mlp,
        text_lstm,
        augmented,
        two_in_two_out,
        twelve_outputs,
        preprocessing,
    )
}


def output_names(conversion: Conversion) -> list[str]:
    """In order."""
    return [spec.name for spec in conversion.outputs]


def is_proven(conversion: Conversion) -> bool:
    """Each output was compared with the upload's own runtime."""
    parity = conversion.parity
    return parity is not None and {entry.output for entry in parity.outputs} == set(output_names(conversion))
