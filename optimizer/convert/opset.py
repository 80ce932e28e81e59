"""Raises a converted model to the ONNX operator set that the user asks for."""

from __future__ import annotations

import onnx

from optimizer.errors import InvalidOptionsError, UnsupportedModelError
from optimizer.graph.structure import at_opset, opset
from optimizer.model import first_line
from optimizer.runtime import newest_opset


def require_opset(wanted: int | None, oldest: int, owner: str) -> None:
    """Check an operator set before any work is done for it.

    Args:
        wanted: What the user asks for; None takes what comes.
        oldest: What the model has without being asked.
        owner: Whose that is, in words.

    Raises:
        InvalidOptionsError: If it is older, or newer than ONNX Runtime knows; gives the range.
    """
    if wanted is None:
        return
    newest = newest_opset()
    if not oldest <= wanted <= newest:
        raise InvalidOptionsError(
            f"The option `opset` asks for operator set {wanted}; {owner} can have {oldest} to {newest}.",
            hint=f"ONNX only raises operator sets: choose one from {oldest} to {newest}, or leave it out.",
        )


def raise_opset(proto: onnx.ModelProto, wanted: int | None) -> onnx.ModelProto:
    """The model at an operator set; unchanged where it has that, or none is asked for.

    Raises:
        UnsupportedModelError: If ONNX cannot rewrite one of its operators.
    """
    if wanted is None or wanted == opset(proto):
        return proto
    try:
        return at_opset(proto, wanted)
    except Exception as error:  # onnx raises RuntimeError and its own, one per operator
        raise UnsupportedModelError(
            f"ONNX cannot raise the model from operator set {opset(proto)} to {wanted}: {first_line(error)}.",
            hint=f"Leave out the option `opset`: then the model has operator set {opset(proto)}.",
        ) from error
