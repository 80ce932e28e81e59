"""Which ONNX operator sets ONNX Runtime loads here, found by loading a small model of each."""

from __future__ import annotations

import functools

from optimizer.errors import OptimizerError, ToolError
from optimizer.runtime import native


@functools.cache
def newest_opset() -> int:
    """The newest standard operator set that ONNX Runtime loads, of those that the onnx package knows."""
    import onnx
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "probe", values[:1], values[1:])
    for version in range(onnx.defs.onnx_opset_version(), 0, -1):
        opsets = [helper.make_opsetid("", version)]
        oldest_ir = helper.find_min_ir_version_for(opsets)
        model = helper.make_model(graph, opset_imports=opsets, ir_version=oldest_ir)
        try:
            native.make_session(
                model.SerializeToString(), native.session_options(1, "ORT_ENABLE_BASIC"), "cpu"
            )
        except OptimizerError:
            continue  # it refuses sets that were not released when it was built
        return version
    raise ToolError("ONNX Runtime loads no operator set.", hint="Install onnx and onnxruntime again.")
