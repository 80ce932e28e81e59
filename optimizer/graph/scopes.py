"""Reads the user's layer from the names that TensorFlow gives to the nodes of a Keras model.

    StatefulPartitionedCall/model/gru/while/gru_cell/MatMul         gru    without calls, model and loop
    StatefulPartitionedCall/functional_1/gru_1/zeros/Concat__81     gru    Keras 3 opens each scope twice
    __inference_model_gru_while_cond_15_frozen_38_model/gru/Less    gru    tf2onnx names bodies like this

Names of other exporters are none of these, see `is_called`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_CALL = re.compile(r"(Stateful)?PartitionedCall(_\d+)?")
_LOOP = re.compile(r"(map|map_fn|scan|while|cond|body|then_branch|else_branch)(_\d+)?")
_FUNCTION = re.compile(r"(zeros|ones|zeros_like|ones_like|clip_by_value|(gru|lstm|simple_rnn)_cell)(_\d+)*")
"""In lower case, as layers are: functions of TensorFlow, and the step of a recurrent layer."""

_ARGUMENTS = "Func/"
"""Around what TensorFlow puts between a function and its arguments where it writes the one into the other."""

_BODY = re.compile(r"^(cond___|__inference_[^/]*?(cond|body|true|false)_\d+(_frozen)?_\d+_)")
_TWICE = re.compile(r"(?<=.)(_1|(?<=\d)_\d+)$")
"""What Keras 3 adds: gru_1 of gru; gru_1_2 of gru_1, where gru_1 is taken."""


class Scopes:
    """The scopes of one model."""

    def __init__(self, names: Iterable[str]) -> None:
        """Read the names of a model's nodes: a scope that all of them share is the model itself."""
        known = [each for each in map(_scopes, names) if each]
        self._twice = all(_TWICE.search(part) for each in known for part in each[:2])
        self._of_model = len({each[0] for each in known}) < 2

    def layer_of(self, node: str) -> str:
        """The layer that made a node, by the names of its scopes, which Keras gives its layers.

        Args:
            node: The name of a node, or the names of several that a TFLite file joins.

        Returns:
            The layer's name after those of the layers around it; empty outside of any.

        >>> Scopes(["model/dense/MatMul"]).layer_of("StatefulPartitionedCall/model/hashing/StringToHash")
        'hashing'
        """
        scopes = _scopes(node)
        if len(scopes) < 2:
            return ""  # outside of Keras, operators open scopes as well
        if self._twice:
            scopes = [_TWICE.sub("", part) for part in scopes]
        return "/".join(scopes[1:] if self._of_model else scopes)


def is_called(node: str) -> bool:
    """Whether a name says that the node is part of a function of TensorFlow.

    >>> is_called("StatefulPartitionedCall/model/dense/MatMul"), is_called("/layers.0/attention/MatMul")
    (True, False)
    """
    return _CALL.fullmatch(node.partition("/")[0]) is not None


def without_calls(name: str) -> str:
    """The name without calls of functions; all of it where it has nothing else."""
    return "/".join(part for part in name.split("/") if not _CALL.fullmatch(part)) or name


def _scopes(node: str) -> list[str]:
    """The scopes around a node, without calls of functions and without those that operators open.

    A loop in a layer is that layer's, with all that is in it.
    """
    if node.startswith(_ARGUMENTS):
        return []
    name = _BODY.sub("", node.partition(";")[0])
    parts = without_calls(name).split("/")[:-1]
    loop = next((place for place, part in enumerate(parts) if place > 1 and _LOOP.fullmatch(part)), None)
    parts = [part for part in parts[:loop] if not _LOOP.fullmatch(part)]
    inner = (place for place, part in enumerate(parts) if place > 1 and _is_function(part))
    return parts[: next(inner, None)]


def _is_function(scope: str) -> bool:
    return scope[:1].isupper() or _FUNCTION.fullmatch(scope) is not None
