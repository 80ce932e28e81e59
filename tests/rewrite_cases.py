"""Applies one rewrite to a model written as text, and checks what every rewrite promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from optimizer.evaluate import max_norm
from optimizer.graph.light_graph import LightGraph
from optimizer.graph.rewriter import Report, Rewrite
from optimizer.graph.rewriter import rewrite as rewrite_graph
from optimizer.graph.verify import open_proto

Array = NDArray[Any]


def proto_of(text: str, weights: Mapping[str, Array], opset: int = 17) -> onnx.ModelProto:
    """A model from the text of its graph."""
    proto = parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> {text}')
    for name, array in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.checker.check_model(proto)
    return proto


def rewrite(
    proto: onnx.ModelProto, rewrites: Sequence[Rewrite], highest_opset: int | None = None
) -> tuple[onnx.ModelProto, Report]:
    """`optimizer.graph.rewriter.rewrite` on a protobuf."""
    graph, report = rewrite_graph(LightGraph(proto), rewrites, highest_opset)
    return graph.proto, report


def rewritten(proto: onnx.ModelProto, *rewrites: Rewrite, times: int = 1) -> onnx.ModelProto:
    """The model after the rewrites, of which the last one has to fit `times` times.

    Checked: the given model is unchanged, a second application changes nothing, and two give the same bytes.
    """
    before = proto.SerializeToString(deterministic=True)
    after, report = rewrite(proto, rewrites)
    assert report.applied[rewrites[-1].name] == times, (report.applied, report.left)
    assert not [left for left in report.left.values() if left.reason.startswith("it failed")]
    assert proto.SerializeToString(deterministic=True) == before
    onnx.checker.check_model(after)
    again, second = rewrite(after, rewrites)
    assert not second.applied
    assert again is after
    twin, _ = rewrite(proto, rewrites)
    assert twin.SerializeToString(deterministic=True) == after.SerializeToString(deterministic=True)
    return after


def assert_left(proto: onnx.ModelProto, *rewrites: Rewrite) -> None:
    """The last rewrite does not fit."""
    _, report = rewrite(proto, rewrites)
    assert report.applied[rewrites[-1].name] == 0
    assert not [left for left in report.left.values() if left.reason.startswith("it failed")]


def assert_same(before: onnx.ModelProto, after: onnx.ModelProto, *feeds: Mapping[str, Array]) -> None:
    """Both compute the same from each of the inputs.

    What is wanted comes from ONNX Runtime without its own fusions, of which one loses an epsilon.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = onnxruntime.InferenceSession(before.SerializeToString(), options, ["CPUExecutionProvider"])
    names = [value.name for value in before.graph.output]
    session = open_proto(after)
    for feed in feeds:
        wanted = dict(zip(names, plain.run(names, dict(feed)), strict=True))
        got = session.run(dict(feed))
        assert wanted.keys() == got.keys()
        for name, value in wanted.items():
            assert got[name].shape == value.shape
            assert got[name].dtype == value.dtype
            if value.dtype.kind == "f":
                assert max_norm(got[name], value) <= 1e-5
            else:
                np.testing.assert_array_equal(got[name], value)


def operators(proto: onnx.ModelProto) -> list[str]:
    """The operators of the main graph, in order."""
    return [node.op_type for node in proto.graph.node]


def normal(*shape: int, seed: int = 0) -> Array:
    """Random float32 numbers, always the same."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
