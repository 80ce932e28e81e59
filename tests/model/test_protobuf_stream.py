"""What is streamed is what protobuf itself would have written."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx_ir
import pytest
from external_models import wide_model
from small_models import SMALL_MODELS

from optimizer.external_data import to_light_proto
from optimizer.model import Model, from_proto, save_model
from optimizer.protobuf_stream import stream


def streamed(model: Model, names: set[str] | None = None) -> bytes:
    return b"".join(map(bytes, stream(*to_light_proto(model.graph_ir, names))))


@pytest.mark.parametrize("name", SMALL_MODELS)
@pytest.mark.parametrize("every", [0, 1, 2])
def test_the_bytes_are_protobufs_own(name: str, every: int) -> None:
    model = SMALL_MODELS[name].build()
    for (
        value
    ) in model.graph_ir.graph.initializers.values():  # as raw bytes, which protobufs have several forms of
        assert value.const_value is not None
        value.const_value = onnx_ir.tensor(value.const_value.numpy(), name=value.name)
    names = set(list(model.graph_ir.graph.initializers)[::every]) if every else set()
    assert streamed(model, names) == model.to_proto().SerializeToString()


def test_so_are_those_of_large_weights_and_of_what_stands_behind_the_graph(tmp_path: Path) -> None:
    proto = wide_model().to_proto()
    proto.metadata_props.add(key="made", value="by hand")
    proto.graph.doc_string = "d" * 200
    model = from_proto(proto)
    assert len(to_light_proto(model.graph_ir)[1]) == 3
    assert streamed(model) == model.to_proto().SerializeToString()
    save_model(model, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == model.to_proto().SerializeToString()


@pytest.mark.parametrize("kind", [np.float16, np.int8, np.int64, ml_dtypes.bfloat16, ml_dtypes.int4])
def test_weights_of_any_type(kind: type) -> None:
    model = SMALL_MODELS["mlp"].build()
    graph = model.graph_ir.graph
    value = onnx_ir.Value(name="w0")
    value.const_value = onnx_ir.tensor(np.arange(-7, 7).astype(kind).reshape(2, 7), name="w0")
    graph.register_initializer(value)
    assert streamed(model, {"w0"}) == model.to_proto().SerializeToString()
