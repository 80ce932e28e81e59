"""Names in a converted model: outputs that would collide with inputs, and axes of free size."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import onnx

from optimizer.errors import InvalidOptionsError

_SHOWN = 5


def onnx_output_name(name: str, input_names: Collection[str]) -> str:
    """The ONNX name of an output; ONNX has one name space, a SavedModel's signature has two.

    >>> onnx_output_name("x", {"x"}), onnx_output_name("y", {"x"})
    ('x_output', 'y')
    """
    while name in input_names:
        name += "_output"
    return name


def unique_names(names: Iterable[str]) -> tuple[str, ...]:
    """The names, with a number behind each that stood before.

    >>> unique_names(["top_k", "top_k", "y"])
    ('top_k', 'top_k_1', 'y')
    """
    found: list[str] = []
    for name in names:
        free, number = name, 1
        while free in found:
            free, number = f"{name}_{number}", number + 1
        found.append(free)
    return tuple(found)


def name_free_axes(proto: onnx.ModelProto) -> None:
    """Name the free axes of inputs and outputs, in place: `batch` first, then `<tensor>_axis<n>`.

    tf2onnx numbers them (`unk__12`), so that nothing shows that inputs and outputs share the batch.
    Values inside the graph lose those numbers: a name there would contradict the new ones.
    """
    graph = proto.graph
    for value in [*graph.input, *graph.output]:
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            if not dimension.HasField("dim_value"):
                dimension.dim_param = "batch" if axis == 0 else f"{value.name}_axis{axis}"
    for value in graph.value_info:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.HasField("dim_param"):
                dimension.Clear()


def rename_first_axis(proto: onnx.ModelProto, names: Collection[str]) -> None:
    """Take the name `batch` from inputs and outputs whose first axis was seen to be something else."""
    for value in [*proto.graph.input, *proto.graph.output]:
        if value.name in names and value.type.tensor_type.shape.dim:
            first = value.type.tensor_type.shape.dim[0]
            if first.dim_param == "batch":
                first.dim_param = f"{value.name}_axis0"


def fix_batch(proto: onnx.ModelProto, size: int) -> None:
    """Write the only batch size that the model runs with over the name `batch`, in place."""
    for value in [*proto.graph.input, *proto.graph.output]:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param == "batch":
                dimension.dim_value = size


def order_inputs(proto: onnx.ModelProto, names: Sequence[str]) -> None:
    """Put the inputs into an order, in place; it may name some that the model does without."""
    _reorder(proto.graph.input, names)


def order_outputs(proto: onnx.ModelProto, names: Sequence[str]) -> None:
    """Put the outputs into an order, in place; `names` are those before `onnx_output_name`."""
    inputs = {value.name for value in proto.graph.input}
    _reorder(proto.graph.output, [onnx_output_name(name, inputs) for name in names])


def _reorder(values: Any, names: Sequence[str]) -> None:
    place = {name: number for number, name in enumerate(names)}
    ordered = sorted(values, key=lambda value: place[value.name])
    kept = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in ordered]
    del values[:]
    values.extend(kept)


def unknown_output(asked: str, known: Collection[str]) -> InvalidOptionsError:
    """The error for an output asked for that is not there, with the nearest names, else the last ones."""
    near = nearest(asked, known)
    names = ", ".join(near or list(known)[-_SHOWN:])
    return InvalidOptionsError(
        f"The model has no tensor {asked!r} to end at.",
        hint=f"The nearest names are: {names}." if near else f"None is named like it; the last are: {names}.",
    )


def ambiguous_output(asked: str, found: Sequence[str]) -> InvalidOptionsError:
    """The error for an output asked for by a name that several tensors have."""
    return InvalidOptionsError(
        f"{asked!r} names {len(found)} tensors of the model.",
        hint=f"Name one of them in full: {', '.join(found[:_SHOWN])}.",
    )


def nearest(asked: str, known: Collection[str]) -> list[str]:
    """Names like the one asked for: inside the scope that it names, else spelled alike.

    >>> nearest("dense", ["f/conv/Relu", "f/dense/Relu", "y"]), nearest("conv/Relo", ["f/conv/Relu", "y"])
    (['f/dense/Relu'], ['f/conv/Relu'])
    >>> nearest("logits", ["x", "f/dense/Relu"])
    []
    """
    inside = [name for name in known if f"/{asked}/" in f"/{name}"]
    if inside:
        return inside[-_SHOWN:]
    depth = asked.count("/") + 1
    by_tail: dict[str, str] = {}
    for name in known:
        by_tail.setdefault("/".join(name.split("/")[-depth:]), name)
    close = difflib.get_close_matches(asked, by_tail, _SHOWN, 0.5)
    return [by_tail[tail] for tail in close]
