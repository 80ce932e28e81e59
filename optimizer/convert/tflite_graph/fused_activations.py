"""Takes an activation that tf2onnx does not know in its fused form out of the operator that it is fused into.

max(min(operator(x), 1), -1): RELU_N1_TO_1 becomes an operator of its own
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from optimizer.convert.tflite_graph.flat_graph import FlatGraph


def unfuse_activations(model: Any) -> bool:
    """Do so in the floating-point operators of an unpacked file, in place; whether there was any."""
    found = False
    for graph in model.subgraphs:
        flat, operators = FlatGraph(model, graph), []
        for operator in graph.operators:
            operators.append(operator)
            if not _is_fused(graph, operator):
                continue
            (target,) = operator.outputs
            before = flat.tensor(f"unclipped_{len(graph.tensors)}", flat.shape(target))
            operator.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.NONE
            operator.outputs = np.array([before], np.int32)
            operators.append(flat.operator("RELU_N1_TO_1", [before], [target]))
            found = True
        graph.operators = operators
    return found


def _is_fused(graph: Any, operator: Any) -> bool:
    fused = getattr(operator.builtinOptions, "fusedActivationFunction", schema.ActivationFunctionType.NONE)
    return (
        fused == schema.ActivationFunctionType.RELU_N1_TO_1
        and len(operator.outputs) == 1
        and bool(graph.tensors[operator.outputs[0]].type == schema.TensorType.FLOAT32)
    )
