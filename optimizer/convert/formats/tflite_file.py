"""Reads a TFLite file: names of inputs and outputs, and how it rounds."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tensorflow as tf
from flatbuffers import flexbuffers
from tensorflow.lite.python import schema_py_generated as schema

from optimizer.convert.formats.tflite_codes import builtin_code
from optimizer.convert.naming import onnx_output_name, unique_names
from optimizer.convert.prepared import Rounding
from optimizer.errors import InvalidModelError, UnsupportedModelError
from optimizer.graph.postprocessing import Node
from optimizer.model import first_line

_INTEGERS = (schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.INT16)


@dataclass(frozen=True)
class TfliteFile:
    """What a TFLite file says of itself."""

    inputs: Mapping[int, str]
    """Tensor index to name."""
    outputs: Mapping[int, str]
    """Tensor index to name."""
    tensor_names: Mapping[str, str]
    """The file's tensor names of inputs and outputs to the names above."""
    rounding: Rounding
    output_steps: Mapping[str, float]
    """Output to its quantization step, where it has one: in real units, or 1 where the output is integer."""
    has_wide_activations: bool
    """Whether it rounds activations to 16 bits."""
    has_half_weights: bool
    """Whether it stores weights as float16."""
    keeps_state: bool = False
    """Whether it has tensors that stay from one call to the next."""
    slots: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """Output of a detection's slots to the output that counts detections, and how many slots each has."""


def read_tflite(path: Path, shown_as: str = "") -> TfliteFile:
    """Read a TFLite file; see `prepare_tflite` for names and errors.

    Raises:
        UnsupportedModelError: If it stores weights in the sparse form, in blocks.
    """
    model = parse_tflite(path)
    graph = model.subgraphs[0]
    _refuse_sparse(shown_as or path.name, graph)
    names = {index: graph.tensors[index].name.decode() for index in [*graph.inputs, *graph.outputs]}
    public = names | _signature_names(model)
    inputs = dict(zip(graph.inputs, unique_names(public[index] for index in graph.inputs), strict=True))
    taken = set(inputs.values())
    found = unique_names(onnx_output_name(public[index], taken) for index in graph.outputs)
    outputs = dict(zip(graph.outputs, found, strict=True))
    steps = {name: step for index, name in outputs.items() if (step := _step(model, index))}
    renamed = {names[index]: name for index, name in [*inputs.items(), *outputs.items()]}
    return TfliteFile(
        inputs,
        outputs,
        renamed,
        _rounding(graph),
        steps,
        has_wide_activations=any(
            _is_quantized(t) and t.type == schema.TensorType.INT16 for t in graph.tensors
        ),
        has_half_weights=any(t.type == schema.TensorType.FLOAT16 for t in graph.tensors),
        keeps_state=any(t.isVariable for t in graph.tensors),
        slots=_slots(model),
    )


def tflite_nodes(path: Path) -> tuple[list[Node], list[str]]:
    """The operators of a file, with its tensors by name, and the names of the tensors that are fed."""
    model = parse_tflite(path)
    graph = model.subgraphs[0]
    names = [tensor.name.decode() for tensor in graph.tensors]
    kinds = {number: kind for kind, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    nodes = []
    for number, operator in enumerate(graph.operators):
        code = model.operatorCodes[operator.opcodeIndex]
        kind = code.customCode.decode() if code.customCode else kinds.get(builtin_code(code), "")
        taken, given = (
            tuple(names[i] for i in indices if i >= 0) for indices in (operator.inputs, operator.outputs)
        )
        nodes.append(Node(str(number), kind, taken, given))
    return nodes, [names[index] for index in graph.inputs]


def open_interpreter(path: Path, threads: int | None) -> Any:
    """Load a TFLite file in TensorFlow's interpreter.

    Raises:
        UnsupportedModelError: If the interpreter refuses it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated", UserWarning)
        try:
            interpreter = tf.lite.Interpreter(model_path=str(path), num_threads=threads)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise UnsupportedModelError(
                f"The TFLite interpreter refuses the file: {first_line(error)}.",
                hint="Convert the model to TFLite again, with built-in operators only.",
            ) from error
    return interpreter


def parse_tflite(path: Path) -> Any:
    """The flatbuffer of a file as objects.

    Raises:
        InvalidModelError: If it is no TFLite file, or a damaged one.
    """
    try:
        model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
        if not len(model.subgraphs[0].outputs):
            raise ValueError("its graph has no outputs")
    except (ValueError, TypeError, IndexError, OverflowError, AttributeError, struct.error) as error:
        raise InvalidModelError(
            f"{path.name} is no TFLite model, or it is damaged or cut off: {first_line(error)}.",
            hint="Check that the download is complete.",
        ) from error
    return model


def _refuse_sparse(file: str, graph: Any) -> None:
    for tensor in graph.tensors:
        if tensor.sparsity is not None:
            raise UnsupportedModelError(
                f"{file} stores the weights of {tensor.name.decode()} in TFLite's sparse form, in "
                "blocks, which no converter reads.",
                hint="Convert the model to TFLite again without EXPERIMENTAL_SPARSITY, or hand in the model "
                "that it was made from.",
            )


def _signature_names(model: Any) -> dict[int, str]:
    """Tensor index to the name that the only signature gives it."""
    signatures = model.signatureDefs or []
    if len(signatures) != 1:
        return {}
    entries = [*(signatures[0].inputs or []), *(signatures[0].outputs or [])]
    return {entry.tensorIndex: entry.name.decode() for entry in entries}


def _rounding(graph: Any) -> Rounding:
    """Computed integers have fixed scales; floats that meet integer weights get theirs at each call."""
    computed = {index for operator in graph.operators for index in operator.outputs} | set(graph.inputs)
    quantized = {index for index, tensor in enumerate(graph.tensors) if _is_quantized(tensor)}
    floats = {index for index in computed if graph.tensors[index].type == schema.TensorType.FLOAT32}
    if any(floats & set(o.inputs) and (quantized - computed) & set(o.inputs) for o in graph.operators):
        return "dynamic"
    if quantized & computed:
        return "static"
    return "dynamic" if quantized else "none"


def _is_quantized(tensor: Any) -> bool:
    return tensor.type in _INTEGERS and _scale(tensor) is not None


def _step(model: Any, index: int) -> float | None:
    """The quantization step of an output; a float output is looked up behind its Dequantize."""
    graph = model.subgraphs[0]
    if graph.tensors[index].type in _INTEGERS:
        return 1.0 if _scale(graph.tensors[index]) is not None else None
    for operator in graph.operators:
        code = builtin_code(model.operatorCodes[operator.opcodeIndex])
        if index in operator.outputs and code == schema.BuiltinOperator.DEQUANTIZE:
            source = graph.tensors[operator.inputs[0]]
            return _scale(source) if source.type in _INTEGERS else None
    return None


def _slots(model: Any) -> dict[int, tuple[int, int]]:
    """Outputs of TFLite_Detection_PostProcess, which does not write the slots behind the last detection."""
    graph, found = model.subgraphs[0], dict[int, tuple[int, int]]()
    for operator in graph.operators:
        if model.operatorCodes[operator.opcodeIndex].customCode != b"TFLite_Detection_PostProcess":
            continue
        *results, count = (int(index) for index in operator.outputs)
        try:
            options = flexbuffers.GetRoot(bytearray(operator.customOptions)).Value
            classes = int(min(options["max_classes_per_detection"], options["num_classes"]))
            each = 1 if options.get("use_regular_nms", False) else classes
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, struct.error) as error:
            raise InvalidModelError(
                "The options of TFLite_Detection_PostProcess cannot be read.", hint="Export the model again."
            ) from error
        if count in graph.outputs:
            found |= {index: (count, each) for index in results if index in graph.outputs}
    return found


def _scale(tensor: Any) -> float | None:
    scales = tensor.quantization.scale if tensor.quantization is not None else None
    return float(scales[0]) if scales is not None and len(scales) else None
