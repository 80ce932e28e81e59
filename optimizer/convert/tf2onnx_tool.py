"""Turns a SavedModel or a TFLite file into ONNX with tf2onnx; the one place that calls it.

tf2onnx only logs what it cannot convert and goes on, so its log is read here: a model that holds an
operator without a converter ends as an error that names operator and node, never as a broken file.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import tensorflow as tf
import tf2onnx
from tf2onnx import optimizer, tf_loader, tfonnx, utils
from tf2onnx.optimizer.global_pool_optimizer import GlobalPoolOptimizer

from optimizer.convert import op_converters  # noqa: F401  # importing it fills tf2onnx's registry
from optimizer.convert.formats.tensor_names import node_name
from optimizer.convert.insertion_order import in_order
from optimizer.convert.loaders.savedmodel import weights_checked
from optimizer.convert.naming import onnx_output_name, unique_names
from optimizer.convert.op_converters.lookup import in_order_of_keys
from optimizer.convert.parity.parity import mark_bfloat16
from optimizer.convert.quantized.integer_graph import expose_integer_kernels
from optimizer.convert.signatures.argument_names import read_argument_names
from optimizer.convert.tensorflow_graph.bfloat16 import without_bfloat16
from optimizer.convert.tensorflow_graph.complex_numbers import without_complex_numbers
from optimizer.convert.tensorflow_graph.dilations import with_dilations
from optimizer.convert.tensorflow_graph.freeze import look_up_shapes, withheld_weights
from optimizer.convert.tflite_graph.convertible import convertible
from optimizer.convert.triage.effects import find_effects
from optimizer.convert.triage.unconvertible import Fault, find_unconvertible, unconvertible
from optimizer.convert.triage.wiring import Wiring, node_meant, read_graph, read_tflite_graph
from optimizer.convert.weights import attach_weights
from optimizer.errors import ResourceLimitError, ToolError, UnsupportedModelError
from optimizer.external_data import PROTO_BYTES
from optimizer.goal import CONVERTED_OPSET
from optimizer.graph.structure import drop_unused_custom_opset
from optimizer.model import first_line
from optimizer.runtime.extensions import DOMAIN

_LARGE_BYTES = 32 << 20


def convert_savedmodel(
    folder: Path,
    signature: str,
    target: Path,
    largest_bytes: int = PROTO_BYTES,
    *,
    custom_operators: bool = False,
) -> onnx.ModelProto:
    """Convert one signature of a SavedModel; inputs and outputs keep the signature's names.

    An output named like an input gets the suffix of `onnx_output_name`, since ONNX has one name space.

    Args:
        folder: The SavedModel.
        signature: Which of its signatures.
        target: Where the model will be written; its weights go beside that file where they take more than
            `largest_bytes`.
        largest_bytes: Of weights in one file.
        custom_operators: Whether texts may be computed by operators of onnxruntime-extensions.

    Raises:
        InvalidModelError: If its weights are cut off or missing.
        UnsupportedModelError: Naming each operator and node that has no converter.
    """
    request = _Request(folder, signature, target, largest_bytes, custom_operators)
    try:
        with weights_checked(folder):
            return _convert_savedmodel(request)
    except ToolError as error:
        # Freezing fails on some operators before tf2onnx can name them.
        explained = find_unconvertible(folder, signature, custom_operators=custom_operators)
        explained = explained or find_effects(folder, signature)
        if explained is not None:
            raise explained from error
        raise


@dataclass(frozen=True)
class _Request:
    """The arguments of `convert_savedmodel`."""

    folder: Path
    signature: str
    target: Path
    largest_bytes: int
    custom_operators: bool


def _convert_savedmodel(request: _Request) -> onnx.ModelProto:
    folder, custom = request.folder, request.custom_operators
    given = read_argument_names(folder)
    with (
        _explained("tf2onnx could not convert the model", custom_operators=custom) as complaints,
        withheld_weights() as withheld,
        in_order(),
    ):
        graph_def, inputs, outputs, tables, names = tf_loader.from_saved_model(
            str(folder),
            None,
            None,
            tag=["serve"],
            signatures=[request.signature],
            return_initialized_tables=True,
            return_tensors_to_rename=True,
        )
        rounded = without_bfloat16(graph_def)
        graph_def = without_complex_numbers(graph_def, [*inputs, *outputs])
        with_dilations(graph_def, [*inputs, *outputs])
        complaints.wiring = lambda: read_graph(graph_def, outputs, withheld.values)
        names |= {tensor: given[names[tensor]] for tensor in inputs if names[tensor] in given}
        _refuse_unknown_rank(graph_def, inputs, names)
        input_names = {names[tensor] for tensor in inputs}
        for tensor in outputs:
            names[tensor] = onnx_output_name(names[tensor], input_names)
        taken = tuple(names.values())
        unique = unique_names([*taken, *withheld.names.values()])[len(taken) :]
        weight_names = dict(zip(withheld.names, unique, strict=True))
        with tf.device("/cpu:0"), tf.Graph().as_default() as tf_graph:
            tf.import_graph_def(graph_def, name="")
            graph = tfonnx.process_tf_graph(
                tf_graph,
                opset=CONVERTED_OPSET,
                input_names=[*inputs, *withheld.values],
                output_names=outputs,
                tensors_to_rename=names | weight_names,
                initialized_tables=in_order_of_keys(tables),
                shape_override=look_up_shapes(tf_graph),
                extra_opset=[utils.make_opsetid(DOMAIN, 1)] if custom else None,
            )
        complaints.raise_any()
        proto = _optimized(graph, folder.name)
        if rounded:
            mark_bfloat16(proto)
        values = {weight_names[tensor]: value for tensor, value in withheld.values.items()}
        attach_weights(proto, values, request.target, request.largest_bytes)
        drop_unused_custom_opset(proto)
        return proto


def convert_tflite(path: Path, names: Mapping[str, str]) -> onnx.ModelProto:
    """Convert a TFLite file.

    Args:
        path: The file.
        names: Tensor names of inputs and outputs to the names they shall have.

    Raises:
        UnsupportedModelError: Naming each operator and node that has no converter.
    """
    with (
        _explained("tf2onnx could not convert the TFLite file") as complaints,
        in_order(),
        convertible(path) as written,
    ):
        complaints.wiring = lambda: read_tflite_graph(path)
        with tf.device("/cpu:0"), tf.Graph().as_default() as tf_graph:
            graph = tfonnx.process_tf_graph(
                tf_graph,
                opset=CONVERTED_OPSET,
                tflite_path=str(written),
                tensors_to_rename=dict(names),
            )
        complaints.raise_any()
        proto = _optimized(graph, path.name)
        expose_integer_kernels(proto)
        return proto


def _refuse_unknown_rank(graph_def: Any, inputs: Sequence[str], names: Mapping[str, str]) -> None:
    """tf2onnx takes an input without a shape for a scalar."""
    nodes = {node.name: node for node in graph_def.node}
    for tensor in inputs:
        node = nodes.get(node_name(tensor))
        if node is not None and node.attr["shape"].shape.unknown_rank:
            raise UnsupportedModelError(
                f"The model does not say how many axes its input {names.get(tensor, tensor)} has.",
                hint="Save it with a shape for each input, None for axes of free size.",
            )


class _Complaints(logging.Handler):
    """Collects what tf2onnx logs about operators that it did not convert."""

    def __init__(self, *, custom_operators: bool) -> None:
        super().__init__(logging.ERROR)
        self._custom_operators = custom_operators
        self.found: list[Fault] = []
        self.wiring: Callable[[], Wiring] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the operator and node of a complaint."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        if str(record.msg).startswith("Tensorflow op ["):
            self._add(Fault(str(arguments[1]), str(arguments[0])))
        elif str(record.msg).startswith("Failed to convert node"):
            reason = first_line(record.exc_info[1]) if record.exc_info and record.exc_info[1] else ""
            operator = re.search(r"OP=(\w+)", str(arguments[2]))
            self._add(Fault(operator[1] if operator else "", str(arguments[0]), reason))

    def _add(self, fault: Fault) -> None:
        if fault not in self.found:
            self.found.append(fault)

    def raise_any(self, cause: BaseException | None = None) -> None:
        """Turn the complaints into one error."""
        if self.found:
            wiring = self.wiring and self.wiring()
            found = [_named(fault, wiring) for fault in self.found]
            raise unconvertible(found, wiring, custom_operators=self._custom_operators) from cause


def _named(fault: Fault, wiring: Wiring | None) -> Fault:
    """The fault with its operator, which tf2onnx does not always say."""
    if fault.operator:
        return fault
    node = wiring and node_meant(fault.node, "", wiring)
    operator = node.operator if node else "an operator"
    loop = "it does not write one element of each list in every turn"
    return replace(fault, operator=operator, reason=loop if "scan output" in fault.reason else fault.reason)


@contextlib.contextmanager
def _explained(what: str, *, custom_operators: bool = False) -> Iterator[_Complaints]:
    """Turn any exception of tf2onnx or TensorFlow's freezing into one of our kinds."""
    complaints = _Complaints(custom_operators=custom_operators)
    logger = logging.getLogger(tfonnx.__name__)
    logger.addHandler(complaints)
    try:
        yield complaints
    except (UnsupportedModelError, MemoryError):
        raise
    except tf.errors.ResourceExhaustedError as error:
        raise ResourceLimitError(
            f"{what}: {first_line(error)}.", hint="Allow the stage more memory."
        ) from error
    except Exception as error:  # tf2onnx asserts, raises ValueError, KeyError, TypeError, ...
        complaints.raise_any(error)
        if "2GB" in str(error):
            raise UnsupportedModelError(
                f"{what}: it is larger than the 2 GB that one ONNX file can hold.",
                hint="Split the model, or store its weights as float16.",
            ) from error
        raise ToolError(
            f"{what}: {first_line(error)}.", hint="The log of the stage has the details."
        ) from error
    finally:
        logger.removeHandler(complaints)


class _SpatialPoolOptimizer(GlobalPoolOptimizer):  # type: ignore[misc]  # tf2onnx has no types
    """GlobalAveragePool for images only: a rank-3 mean (LayerNorm, a sequence's mean) stays a ReduceMean."""

    def _optimize_reduce(self, node: Any, graph: Any) -> bool:
        rank = graph.get_rank(node.input[0])
        return rank is not None and rank >= 4 and bool(super()._optimize_reduce(node, graph))


def _optimized(graph: Any, name: str) -> onnx.ModelProto:
    """Run tf2onnx's own optimizers and return the finished model."""
    factories = dict(optimizer._get_optimizers()) | {"global_pool_optimizer": _SpatialPoolOptimizer}
    if _constant_bytes(graph) > _LARGE_BYTES:
        # Each optimizer deep-copies the graph, and cycles keep the copies: 6.7 GB for ResNet50 without this.
        factories = {key: _collecting(factory) for key, factory in factories.items()}
    graph = optimizer.optimize_graph(graph, catch_errors=True, optimizers=factories)
    proto: onnx.ModelProto = graph.make_model(f"converted from {name}")
    proto.producer_name, proto.producer_version = "tf2onnx", tf2onnx.__version__
    return proto


def _constant_bytes(graph: Any) -> int:
    constants = (node for node in graph.get_nodes() if node.type == "Const")
    return sum(len(node.attr["value"].t.raw_data) for node in constants)


def _collecting(factory: Callable[[], Any]) -> Callable[[], Any]:
    """The same factory, after the copies of the optimizer before it are freed."""

    def make() -> Any:
        gc.collect()
        return factory()

    return make
