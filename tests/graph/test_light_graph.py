"""Weights that stand apart change nothing of what comes out."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir
import pytest
from rewrite_cases import assert_same, normal, proto_of
from small_models import SMALL_MODELS

from optimizer.graph import simplify
from optimizer.graph.light_graph import lighten
from optimizer.graph.structure import all_nodes
from optimizer.model import Model, from_proto, load_model, save_model
from optimizer.runtime import Session, open_mapped


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every weight of a few elements counts as large, and every model as heavy."""
    monkeypatch.setattr("optimizer.graph.light_graph.LARGE_BYTES", 16)
    monkeypatch.setattr("optimizer.graph.light_graph._LEAST_BYTES", 16)
    monkeypatch.setattr(sys.modules["optimizer.graph.simplify"], "_LARGE_BYTES", 0)


def operators(model: Model) -> Counter[str]:
    return Counter(node.op_type for node in all_nodes(model.to_proto().graph))


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_the_same_operators_come_out(name: str, request: pytest.FixtureRequest) -> None:
    small = SMALL_MODELS[name]
    whole = simplify(small.build())
    request.getfixturevalue("apart")
    result = simplify(small.build())
    assert operators(result.model) == operators(whole.model)
    assert result.refusals == whole.refusals
    assert [(each.name, each.count) for each in result.rewrites] == [
        (each.name, each.count) for each in whole.rewrites
    ]
    assert simplify(result.model).model is result.model


TEXT = """g (float[n, 3, 8, 8] x) => (float[n, 5, 8, 8] y) {
    t = Transpose <perm = [3, 2, 0, 1]> (w)
    c = Conv <pads = [1, 1, 1, 1]> (x, t)
    y = BatchNormalization (c, s, b, m, v)
}"""


@pytest.mark.usefixtures("apart")
def test_a_weight_that_a_tool_has_to_fold_is_handed_to_it() -> None:
    values = {name: normal(5, seed=place) for place, name in enumerate("sbm")}
    proto = proto_of(TEXT, {"w": normal(3, 3, 3, 5), "v": np.abs(normal(5)) + 1} | values)
    assert "w" not in lighten(onnx_ir.from_proto(proto), "layers").weights
    assert "w" in lighten(onnx_ir.from_proto(proto), "all").weights
    result = simplify(from_proto(proto))
    assert operators(result.model) == {"Conv": 1}
    assert_same(proto, result.model.to_proto(), {"x": normal(2, 3, 8, 8)})


@pytest.mark.usefixtures("apart")
def test_a_weight_that_nothing_changes_stays_the_object_that_it_was(tmp_path: Path) -> None:
    text = "g (float[n, 4] x) => (float[n, 3] y) { i = Identity (x) y = MatMul (i, w) }"
    save_model(from_proto(proto_of(text, {"w": normal(4, 3)})), tmp_path / "m.onnx")
    given = load_model(tmp_path / "m.onnx")
    result = simplify(given)
    assert operators(result.model) == {"MatMul": 1}
    kept, before = (model.graph_ir.graph.initializers["w"].const_value for model in (result.model, given))
    assert kept is before


@pytest.mark.usefixtures("apart")
def test_a_look_up_at_constant_places_is_a_constant() -> None:
    text = """g (float[n, 4] x) => (float[n, 4] y) <int64[1] i = {2}> {
        t = Gather (table, i) r = Exp (t) y = Add (x, r)
    }"""
    result = simplify(from_proto(proto_of(text, {"table": normal(9, 4)})))
    assert operators(result.model) == {"Add": 1}


@pytest.mark.usefixtures("apart")
def test_a_whole_model_that_computes_otherwise_is_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where ONNX Runtime takes constants together wrongly: the weights are others in the file."""

    def of_other_weights(path: Path) -> Session:
        weights = path.with_name(f"{path.name}.data")
        weights.write_bytes(np.frombuffer(weights.read_bytes(), np.float32).__mul__(1.01).tobytes())
        return open_mapped(path)

    given = SMALL_MODELS["classifier"].build()
    monkeypatch.setattr("optimizer.external_data.LARGE_BYTES", 16)
    monkeypatch.setattr("optimizer.runtime.open_mapped", of_other_weights)
    result = simplify(given)
    assert result.model is given
    assert any("with its weights in it, output scores differs" in each for each in result.refusals)
