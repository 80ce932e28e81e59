"""The loader of each format; each loads what it needs, so that an ONNX model waits for no TensorFlow."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from optimizer.convert.free_memory import free_model
from optimizer.convert.opset import require_opset
from optimizer.convert.prepared import Prepared
from optimizer.goal import CONVERTED_OPSET, Goal
from optimizer.results import Format
from optimizer.workspace import Workspace


def prepare(upload: Path, format: Format, workspace: Workspace, goal: Goal) -> Prepared:
    """Bring an upload into the form that its own runtime loads.

    Raises:
        OptimizerError: As the loader of the format says.
    """
    _prepare_environment(format)
    require_opset(goal.opset, CONVERTED_OPSET, "a converted model")
    if format == "savedmodel":
        from optimizer.convert.loaders.savedmodel import prepare_savedmodel

        return prepare_savedmodel(upload, workspace, goal.signature, goal.outputs)
    if format == "tflite":
        from optimizer.convert.loaders.tflite import prepare_tflite

        return prepare_tflite(upload, workspace, goal.signature, goal.outputs)
    if format == "graphdef":
        from optimizer.convert.loaders.graphdef import prepare_graphdef

        return prepare_graphdef(upload, workspace, goal.outputs)
    if format == "checkpoint":
        from optimizer.convert.loaders.checkpoint import prepare_checkpoint

        return prepare_checkpoint(upload, workspace, goal.outputs)
    from optimizer.convert.loaders.keras import prepare_keras

    prepared = prepare_keras(upload, format, workspace, goal.outputs)
    free_model(upload)
    return prepared


def _prepare_environment(format: Format) -> None:
    """Settings that TensorFlow reads when it is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # oneDNN keeps the memory of every weight that was freed, and its fusions take max(x, a x) for LeakyRelu
    # whatever a is.
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
    if format in ("keras2", "keras2_h5") and "tensorflow" not in sys.modules:
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
