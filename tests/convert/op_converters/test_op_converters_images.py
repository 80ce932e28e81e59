"""Resizing, patches and colours against TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import operators
from op_models import convert_function, is_same

IMAGES = {"image": np.random.default_rng(3).random((3, 7, 10, 3), np.float32)}
FREE = {"image": (None, None, None, 3)}
ROUNDING = 2e-6


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("size", [(5, 13), (20, 3)], ids=["wider", "higher"])
@pytest.mark.parametrize(
    "method", ["bilinear", "bicubic", "lanczos3", "lanczos5", "gaussian", "mitchellcubic", "area"]
)
def test_resizing_follows_each_kernel(
    method: str, size: tuple[int, int], antialias: bool, tmp_path: Path
) -> None:
    import tensorflow as tf

    result, _ = convert_function(
        lambda image: tf.image.resize(image, size, method=method, antialias=antialias), tmp_path, IMAGES
    )
    assert is_same(result, ROUNDING)


@pytest.mark.parametrize(
    ("method", "antialias"), [("bilinear", True), ("bicubic", False), ("area", False), ("lanczos3", True)]
)
def test_images_of_any_size_are_resized(method: str, antialias: bool, tmp_path: Path) -> None:
    import tensorflow as tf

    result, workspace = convert_function(
        lambda image: tf.image.resize(image, (6, 6), method=method, antialias=antialias),
        tmp_path,
        IMAGES,
        FREE,
    )
    assert is_same(result, ROUNDING)
    assert "Range" in operators(workspace)


def test_images_of_known_size_need_two_products_alone(tmp_path: Path) -> None:
    import tensorflow as tf

    _, workspace = convert_function(
        lambda image: tf.image.resize(image, (6, 6), antialias=True), tmp_path, IMAGES
    )
    assert operators(workspace) == {"MatMul", "Transpose"}


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("method", ["resize_bicubic", "resize_bilinear", "resize_area"])
def test_the_resizing_of_tensorflow_1_is_the_same(method: str, corners: bool, tmp_path: Path) -> None:
    import tensorflow as tf

    resize = getattr(tf.compat.v1.image, method)
    result, _ = convert_function(
        lambda image: resize(image, (5, 13), align_corners=corners), tmp_path, IMAGES
    )
    assert is_same(result, ROUNDING)


@pytest.mark.parametrize("method", ["bilinear", "bicubic", "area"])
def test_images_of_bytes_are_resized_to_floats(method: str, tmp_path: Path) -> None:
    import tensorflow as tf

    images = {"image": (IMAGES["image"] * 255).astype(np.uint8)}
    result, _ = convert_function(
        lambda image: tf.image.resize(image, (5, 13), method=method), tmp_path, images
    )
    assert is_same(result, ROUNDING)


def test_what_lies_outside_of_the_image_is_zero(tmp_path: Path) -> None:
    import tensorflow as tf

    def shifted(image: Any) -> Any:
        place = {"size": [9, 9], "scale": [0.6, 1.7], "translation": [2.5, -3.0]}
        return tf.raw_ops.ScaleAndTranslate(images=image, kernel_type="triangle", **place)

    result, _ = convert_function(shifted, tmp_path, IMAGES)
    assert is_same(result, ROUNDING)


@pytest.mark.parametrize("shapes", [None, FREE], ids=["known size", "any size"])
@pytest.mark.parametrize("padding", ["VALID", "SAME"])
@pytest.mark.parametrize(
    ("window", "stride", "rate"),
    [((2, 2), (2, 2), (1, 1)), ((3, 2), (2, 3), (2, 1)), ((1, 4), (1, 5), (1, 1))],
)
def test_patches_are_cut_out_as_in_tensorflow(
    window: tuple[int, int],
    stride: tuple[int, int],
    rate: tuple[int, int],
    padding: str,
    shapes: Any,
    tmp_path: Path,
) -> None:
    import tensorflow as tf

    result, _ = convert_function(
        lambda image: tf.image.extract_patches(
            image, [1, *window, 1], [1, *stride, 1], [1, *rate, 1], padding
        ),
        tmp_path,
        IMAGES,
        shapes,
    )
    assert result.value == 0.0


COLORS = np.array(
    [
        [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[1, 1, 0], [0, 1, 1], [1, 0, 1], [0.2, 0.7, 0.7], [0.9, 0.1, 0.4], [0.4, 0.1, 0.9]],
    ],
    np.float32,
)[:, None]  # [2, 1, 6, 3]: greys, primaries, ties between two channels


@pytest.mark.parametrize("factor", [0.0, 0.5, 3.0])
def test_saturation_changes_as_in_tensorflow(factor: float, tmp_path: Path) -> None:
    import tensorflow as tf

    result, _ = convert_function(
        lambda image: tf.image.adjust_saturation(image, factor), tmp_path, {"image": COLORS}
    )
    assert is_same(result)


@pytest.mark.parametrize("function", ["rgb_to_hsv", "hsv_to_rgb"])
def test_colours_change_their_coordinates(function: str, tmp_path: Path) -> None:
    import tensorflow as tf

    result, _ = convert_function(
        lambda image: getattr(tf.image, function)(image), tmp_path, {"image": COLORS}
    )
    assert is_same(result)
