"""Sparse weights of a TFLite file become the dense ones that they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tflite_files import empty_model

from optimizer.convert.tflite_graph.dense_weights import densify_weights
from optimizer.convert.tflite_graph.flat_graph import FlatGraph
from optimizer.errors import InvalidModelError

WEIGHTS = np.array([[0, 2, 0, 1], [0, 0, 0, 0], [5, 0, 0, 3]], np.float32)


def model_of(order: list[int]) -> Any:
    """A file with WEIGHTS behind DENSIFY and an ABS; the last axis walked is sparse, the first dense."""
    from tensorflow.lite.python import schema_py_generated as schema

    walked = WEIGHTS.transpose(order)
    model, graph = empty_model()
    flat = FlatGraph(model, graph)
    stored = flat.constant("weights", walked[walked != 0])
    graph.tensors[stored].shape = np.array(WEIGHTS.shape, np.int32)
    sparsity = schema.SparsityParametersT()
    dense, sparse = schema.DimensionMetadataT(), schema.DimensionMetadataT()
    dense.format, dense.denseSize = schema.DimensionType.DENSE, walked.shape[0]
    sparse.format = schema.DimensionType.SPARSE_CSR
    sparse.arraySegments, sparse.arrayIndices = schema.Uint8VectorT(), schema.Uint8VectorT()
    sparse.arraySegments.values = np.array([0, *np.cumsum((walked != 0).sum(1))], np.uint8)
    sparse.arrayIndices.values = np.nonzero(walked)[1].astype(np.uint8)
    sparsity.traversalOrder, sparsity.dimMetadata = np.array(order, np.int32), [dense, sparse]
    graph.tensors[stored].sparsity = sparsity
    found, end = flat.tensor("dense", WEIGHTS.shape), flat.tensor("end", WEIGHTS.shape)
    graph.operators = [flat.operator("DENSIFY", [stored], [found]), flat.operator("ABS", [found], [end])]
    return model


def weights_of(model: Any) -> NDArray[Any]:
    """What the only operator reads."""
    (graph,) = model.subgraphs
    (operator,) = graph.operators
    value = FlatGraph(model, graph).value(operator.inputs[0])
    assert value is not None
    return value


@pytest.mark.parametrize("order", [[0, 1], [1, 0]], ids=["by rows", "by columns"])
def test_each_value_is_at_its_place(order: list[int]) -> None:
    model = model_of(order)
    assert densify_weights(model)
    np.testing.assert_array_equal(weights_of(model), WEIGHTS)
    assert not densify_weights(model)


def test_operators_without_ends_are_no_hindrance() -> None:
    model = model_of([0, 1])
    (graph,) = model.subgraphs
    flat = FlatGraph(model, graph)
    for missing in ("inputs", "outputs"):
        for kind in ("ABS", "DENSIFY"):
            graph.operators.append(flat.operator(kind, [2], [2]))
            setattr(graph.operators[-1], missing, None)
    assert densify_weights(model)
    assert [flat.kind(operator) for operator in graph.operators] == [
        "ABS",
        "ABS",
        "DENSIFY",
        "ABS",
        "DENSIFY",
    ]


@pytest.mark.parametrize(
    ("table", "values"), [("arrayIndices", [1, 9, 0, 3]), ("arraySegments", [0, 2, 1, 4])]
)
def test_places_outside_of_the_weights_are_refused(table: str, values: list[int]) -> None:
    model = model_of([0, 1])
    sparsity = model.subgraphs[0].tensors[0].sparsity
    getattr(sparsity.dimMetadata[1], table).values = np.array(values, np.uint8)
    with pytest.raises(InvalidModelError, match="weights"):
        densify_weights(model)
