"""Gives inputs the shapes that the user fixes, and everything behind them what follows from that."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence

import onnx

from optimizer.errors import InvalidOptionsError
from optimizer.graph.structure import true_inputs


def fix_shapes(proto: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> onnx.ModelProto:
    """The model with fixed input shapes; the shapes behind them are inferred anew.

    Raises:
        InvalidOptionsError: If there is no such input, or the model says otherwise of its shape.
    """
    if not shapes:
        return proto
    inputs = {value.name: value for value in true_inputs(proto.graph)}
    for name, shape in shapes.items():
        if name not in inputs:
            near = difflib.get_close_matches(name, inputs, 3, 0.3) or list(inputs)
            raise InvalidOptionsError(
                f"The option `fixed_shapes` names {name!r}: the model has no such input.",
                hint=f"Its inputs are like: {', '.join(near)}.",
            )
        _fix(inputs[name], shape)
    free = {dimension.dim_param for value in inputs.values() for dimension in _dimensions(value)}
    for value in [*proto.graph.value_info, *proto.graph.output]:
        for dimension in _dimensions(value):
            if dimension.dim_param and dimension.dim_param not in free:
                dimension.Clear()
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    for value in inferred.graph.output:
        for axis, dimension in enumerate(_dimensions(value)):
            if not dimension.HasField("dim_value") and dimension.dim_param not in free:
                dimension.dim_param = f"{value.name}_axis{axis}"
    return inferred


def _fix(value: onnx.ValueInfoProto, shape: Sequence[int]) -> None:
    stated = [
        dimension.dim_value if dimension.HasField("dim_value") else dimension.dim_param or "any"
        for dimension in _dimensions(value)
    ]
    known = value.type.tensor_type.HasField("shape")
    fits = len(stated) == len(shape) and all(
        isinstance(have, str) or have == size for have, size in zip(stated, shape, strict=True)
    )
    if known and not fits:
        raise InvalidOptionsError(
            f"The option `fixed_shapes` gives the input {value.name} the shape {list(shape)}, but the model "
            f"has [{', '.join(map(str, stated))}].",
            hint="Only axes of free size can be fixed.",
        )
    value.type.tensor_type.shape.CopyFrom(
        onnx.TensorShapeProto(dim=[onnx.TensorShapeProto.Dimension(dim_value=size) for size in shape])
    )


def _dimensions(value: onnx.ValueInfoProto) -> Iterator[onnx.TensorShapeProto.Dimension]:
    yield from value.type.tensor_type.shape.dim
