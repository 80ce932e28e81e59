"""The smallest network of each family in keras.applications, at the smallest image it accepts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zoo.model import ZooModel, keras_file

SIDES: dict[str, int] = {
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "ConvNeXtTiny": 32,
    "DenseNet121": 32,
    "InceptionV3": 75,
    "NASNetMobile": 32,
    "VGG16": 32,
    "Xception": 71,
}
"""Class to the side of its image in pixels."""

_CLASSES = 100


def _maker(name: str, side: int) -> Callable[[], Any]:
    def make() -> Any:
        import keras

        network = getattr(keras.applications, name)
        return network(weights=None, input_shape=(side, side, 3), classes=_CLASSES)

    make.__name__ = name.lower()
    return make


MODELS: tuple[ZooModel, ...] = tuple(
    keras_file("applications", _maker(name, side)) for name, side in SIDES.items()
)
