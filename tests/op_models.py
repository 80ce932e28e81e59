"""One function as a SavedModel, converted and compared on inputs that a test chooses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from keras_models import convert
from numpy.typing import NDArray

from optimizer.results import OutputParity
from optimizer.workspace import Workspace


def save_function(
    function: Callable[..., Any], folder: Path, inputs: dict[str, Any], shapes: dict[str, Any] | None = None
) -> Path:
    """Save a function of the inputs, whose first axis is free unless `shapes` says otherwise."""
    import tensorflow as tf

    shapes = shapes or {}
    specs = [
        tf.TensorSpec(shapes.get(name, (None, *value.shape[1:])), tf.as_dtype(value.dtype), name=name)
        for name, value in inputs.items()
    ]
    serve = tf.function(lambda *values: {"y": tf.identity(function(*values))}, input_signature=specs)
    module = tf.Module()
    module.serve = serve
    tf.saved_model.save(module, str(folder / "saved"), signatures=serve)
    return folder / "saved"


def convert_function(
    function: Callable[..., Any],
    folder: Path,
    inputs: dict[str, NDArray[Any]],
    shapes: dict[str, Any] | None = None,
) -> tuple[OutputParity, Workspace]:
    """Convert a function; the comparison takes each row of the inputs."""
    upload = save_function(function, folder, inputs, shapes)
    np.savez(folder / "samples.npz", **inputs)  # type: ignore[arg-type]  # NumPy takes arrays by any name
    conversion, workspace = convert(upload, "savedmodel", folder, samples=folder / "samples.npz")
    assert conversion.parity is not None
    return conversion.parity.outputs[0], workspace


def is_same(result: OutputParity, tolerance: float = 1e-6) -> bool:
    """Equal where values are whole, else within a few roundings of float32."""
    return result.value == 1.0 if result.measure == "agreement" else result.value < tolerance
