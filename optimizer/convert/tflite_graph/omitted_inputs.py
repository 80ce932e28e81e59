"""Gives a place to inputs that an operator does without, and to the state that it keeps between two calls.

tf2onnx drops the former, so that all behind them would move up, and knows no tensor for the latter. Both
become one constant, by whose name our converters know it: a state is zeros when a call begins.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from optimizer.convert.tflite_graph.flat_graph import FlatGraph

OMITTED = "onnxpress_omitted"
"""The name of that constant."""
_KINDS = ("UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN", "SVDF")


def place_omitted_inputs(model: Any) -> bool:
    """Do so in the graphs of an unpacked file; whether there was any."""
    found = False
    for graph in model.subgraphs:
        flat = FlatGraph(model, graph)
        operators = [operator for operator in graph.operators if flat.kind(operator) in _KINDS]
        if not operators:
            continue
        constant = flat.constant(OMITTED, np.zeros(1, np.float32))
        for operator in operators:
            operator.inputs = np.array(
                [
                    constant if index < 0 or graph.tensors[index].isVariable else index
                    for index in operator.inputs
                ],
                np.int32,
            )
        found = True
    return found
