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
    recurrent,
    tf1,
    tflite,
)
from zoo.model import ZooModel

ZOO: dict[str, ZooModel] = {
    model.name: model
    for family in (
        mlp,
        cnn,
        applications,
        recurrent,
        attention,
        norms,
        multi_io,
        preprocessing,
        precision,
        quantized,
        functions,
        tf1,
        tflite,
        keras2,
    )
    for model in family.MODELS
}

__all__ = ["ZOO", "ZooModel"]
