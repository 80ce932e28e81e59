"""Builds the models that conversion is judged by: seeded, random weights, one module a family."""

from zoo import (
    applications,
    attention,
    cnn,
    functions,
    keras2,
    mlp,
    multi_io,
    norms,
    precision,
    preprocessing,
    quantized,
    real,
    recurrent,
    rewritten,
    tf1,
    tflite,
)
from zoo.model import ZooModel
from zoo.real import PACKAGED

_MODELS = (
    *mlp.MODELS,
    *cnn.MODELS,
    *applications.MODELS,
    *recurrent.MODELS,
    *attention.MODELS,
    *norms.MODELS,
    *multi_io.MODELS,
    *preprocessing.MODELS,
    *precision.MODELS,
    *quantized.MODELS,
    *rewritten.MODELS,
    *functions.MODELS,
    *tf1.MODELS,
    *tflite.MODELS,
    *keras2.MODELS,
    *real.MODELS,
)

ZOO: dict[str, ZooModel] = {model.name: model for model in _MODELS}
if len(ZOO) < len(_MODELS):
    raise ValueError("two models of the zoo share a name")

MODELS = ZOO | PACKAGED

__all__ = ["MODELS", "PACKAGED", "ZOO", "ZooModel"]
