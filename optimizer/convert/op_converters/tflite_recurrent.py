"""TFLite's fused recurrent layers become ONNX's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tf2onnx import utils
from tf2onnx.handler import tfl_op

from optimizer.convert.op_converters.formula import Formula
from optimizer.convert.tflite_graph.omitted_inputs import OMITTED

_ONNX_GATES = (0, 3, 1, 2)
"""TFLite's order is input, forget, cell, output; ONNX's input, output, forget, cell."""


@tfl_op("TFL_UNIDIRECTIONAL_SEQUENCE_LSTM")
class SequenceLstm:
    """LSTM with weights [4 n, inputs] in one matrix; a call begins with a state of zeros.

    TFLite limits the cell's state c to +-clip. From one step to the next |c| grows by less than 1, so that
    nothing is limited up to `clip` steps; longer sequences are computed as in Keras, which has no limit.
    """

    @classmethod
    def version_14(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, inputs = Formula(ctx), list(node.input)
        utils.make_sure(
            not any(_is_given(ctx, name) for name in [*inputs[16:18], *inputs[20:24]]),
            "ONNX's LSTM has no projection and no normalization",
        )
        utils.make_sure(
            node.get_attr_value("fused_activation_function") in (b"TANH", "TANH"),
            "only tanh is known as the activation of a fused LSTM",
        )
        utils.make_sure(_is_given(ctx, inputs[1]), "ONNX's LSTM has an input gate of its own")
        weights, recurrent = (_stacked(ctx, inputs[start : start + 4]) for start in (1, 5))
        biases = _stacked(ctx, inputs[12:16])  # [4 n]
        units = recurrent.shape[1]
        bias = np.concatenate([biases, np.zeros_like(biases)])
        taken = [weights[None], recurrent[None], bias[None]]
        names = [formula.name(value.astype(np.float32)) for value in taken]
        peepholes = [inputs[index] for index in (9, 11, 10) if _is_given(ctx, inputs[index])]
        if peepholes:  # ONNX's order is input, output, forget
            peephole = np.concatenate([_value(ctx, name) for name in peepholes])[None]
            names += ["", "", "", formula.name(peephole.astype(np.float32))]
        in_steps = bool(node.get_attr_value("time_major", 0))
        x = inputs[0] if in_steps else str(formula("Transpose", inputs[0], perm=[1, 0, 2]))
        made = ctx.make_node("LSTM", [x, *names], attr={"hidden_size": units}, output_count=3)
        result = formula("Squeeze", made.output[0], np.array([1], np.int64))  # [steps, batch, units]
        formula.replace(node, result if in_steps else formula("Transpose", result, perm=[1, 0, 2]))


def _is_given(graph: Any, name: str) -> bool:
    return bool(name) and name != OMITTED and not name.startswith(f"{OMITTED}_")


def _stacked(graph: Any, names: list[str]) -> NDArray[Any]:
    """The weights of the gates one below another, in ONNX's order."""
    return np.concatenate([_value(graph, names[index]) for index in _ONNX_GATES])


def _value(graph: Any, name: str) -> NDArray[Any]:
    """A constant; one in integers is scaled."""
    node = graph.get_node_by_output(name)
    if node is not None and node.type in ("TFL_DEQUANTIZE", "DequantizeLinear"):
        source = graph.get_node_by_output(node.input[0])
        if source is not None and source.is_const():
            return _scaled(graph, node, np.asarray(source.get_tensor_value(as_list=False)))
    utils.make_sure(node is not None and node.is_const(), "the weights of a fused LSTM are no constants")
    return np.asarray(node.get_tensor_value(as_list=False))


def _scaled(graph: Any, node: Any, value: NDArray[Any]) -> NDArray[Any]:
    if node.type == "TFL_DEQUANTIZE":
        scale, zero = (node.get_attr_value(name) for name in ("scale", "zero_point"))
        if scale is None:  # float16
            return value.astype(np.float32)
        axis = node.get_attr_value("quantized_dimension", 0)
    else:
        scale, zero = (graph.get_node_by_output(n).get_tensor_value(as_list=False) for n in node.input[1:3])
        axis = node.get_attr_value("axis", 0)
    numbers = [np.atleast_1d(np.asarray(part)) for part in (scale, zero)]
    shape = [-1 if index == axis else 1 for index in range(value.ndim)]
    wide = [part.reshape(shape) if part.size > 1 else part for part in numbers]
    return np.asarray((value.astype(np.float32) - wide[1]) * wide[0], np.float32)
