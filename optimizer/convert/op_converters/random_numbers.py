"""Refuses random numbers by name: ONNX would draw others, which a comparison can only call wrong values."""

from __future__ import annotations

from typing import Any

from tf2onnx import utils
from tf2onnx.handler import tf_op


@tf_op(
    [
        "Multinomial",
        "RandomShuffle",
        "RandomStandardNormal",
        "RandomUniform",
        "RandomUniformInt",
    ]
)
class Random:
    """tf2onnx has converters for these; the stateless ones it lacks."""

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Refuse one node."""
        utils.make_sure(False, "random numbers differ at each call, so that no result could be compared")
