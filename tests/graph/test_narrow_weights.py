"""Weights in few bits stay so in the file; for whoever changes or rounds them they are float32."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto
from rewrite_cases import proto_of

from optimizer.graph import simplify, with_float_weights
from optimizer.graph.verify import open_proto
from optimizer.model import from_proto
from optimizer.quantize import quantize_dynamic
from optimizer.steps import QuantizeDynamic

RNG = np.random.default_rng(0)
TEXT = "g (float[n, 256] x) => (float[n, 128] y) {{ {} \n p = MatMul (x, w) \n y = Add (p, b) }}"


def integers(*shape: int) -> NDArray[Any]:
    return RNG.integers(-127, 128, shape).astype(np.int8)


def scales(*shape: int) -> NDArray[Any]:
    return RNG.uniform(0.001, 0.01, shape).astype(np.float32)


SPELLINGS: dict[str, tuple[str, dict[str, NDArray[Any]]]] = {
    "half": ("w = Cast <to = 1> (h)", {"h": RNG.normal(size=(256, 128)).astype(np.float16)}),
    "scaled": (
        "f = Cast <to = 1> (q) \n w = Mul (f, s)",
        {"q": integers(256, 128), "s": scales(1, 128)},
    ),
    "shifted": (
        "f = Cast <to = 1> (q) \n m = Sub (f, z) \n w = Mul (s, m)",
        {"q": integers(256, 128), "s": scales(128), "z": np.array(3, np.float32)},
    ),
    "blocks": (
        "f = Cast <to = 1> (q) \n m = Mul (f, s) \n w = Reshape (m, to)",
        {"q": integers(4, 64, 128), "s": scales(4, 1, 128), "to": np.array([-1, 128])},
    ),
}


def model(spelling: str) -> onnx.ModelProto:
    body, weights = SPELLINGS[spelling]
    return proto_of(TEXT.format(body), weights | {"b": RNG.normal(size=128).astype(np.float32)}, 17)


def answers(proto: onnx.ModelProto) -> NDArray[Any]:
    value = np.random.default_rng(1).normal(size=(5, 256)).astype(np.float32)
    found: NDArray[Any] = open_proto(proto).run({"x": value})["y"]
    return found


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_graph_gets_simpler_and_the_weights_keep_their_bits(spelling: str) -> None:
    given = model(spelling)
    before = given.SerializeToString()
    result = simplify(from_proto(given))
    simplified = result.model.to_proto()
    operators = Counter(node.op_type for node in simplified.graph.node)
    assert operators["Gemm"] == 1
    assert "MatMul" not in operators
    assert simplified.ByteSize() < 1.1 * given.ByteSize()
    assert result.refusals == ()
    np.testing.assert_allclose(answers(simplified), answers(given), rtol=1e-5, atol=1e-6)
    assert given.SerializeToString() == before
    assert simplify(result.model).model is result.model


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_dynamic_int8_rounds_them_like_any_weights(spelling: str) -> None:
    given = from_proto(model(spelling))
    integer = quantize_dynamic(with_float_weights(given), QuantizeDynamic()).model.to_proto()
    assert "MatMulInteger" in {node.op_type for node in integer.graph.node}
    wanted = answers(given.to_proto())
    assert np.linalg.norm(answers(integer) - wanted) < 0.02 * np.linalg.norm(wanted)


def test_what_a_rewrite_changes_becomes_float() -> None:
    body, weights = SPELLINGS["half"]
    body += "\n v = MatMul (x, w) \n p = Mul (v, factor)"
    text = f"g (float[n, 256] x) => (float[n, 128] y) {{ {body} \n y = Add (p, b) }}"
    given = proto_of(text, weights | {"b": scales(128), "factor": scales(128)}, 17)
    simplified = simplify(from_proto(given)).model.to_proto()
    assert "Cast" not in {node.op_type for node in simplified.graph.node}
    np.testing.assert_allclose(answers(simplified), answers(given), rtol=1e-5, atol=1e-6)


def test_few_weights_become_float() -> None:
    text = "g (float[n, 8] x) => (float[n, 16] y) { {} \n p = MatMul (x, w) \n y = Add (p, b) }"
    given = proto_of(
        text.replace("{}", "w = Cast <to = 1> (h)"),
        {"h": RNG.normal(size=(8, 16)).astype(np.float16), "b": scales(16)},
        17,
    )
    simplified = simplify(from_proto(given)).model.to_proto()
    assert [node.op_type for node in simplified.graph.node] == ["Gemm"]
    assert {weight.data_type for weight in simplified.graph.initializer} == {TensorProto.FLOAT}


@pytest.mark.parametrize(
    ("inputs", "body"),
    [
        ("float16[8, 16] h, float[n, 8] x", "w = Cast <to = 1> (h)"),
        ("double[n, 8] x", "w = Cast <to = 11> (q)"),
        ("float[n, 8] x", "w = Mul (f, s)"),
    ],
)
def test_what_is_no_narrow_weight_is_left(inputs: str, body: str) -> None:
    weights = {"q": integers(8, 16), "f": scales(8, 16), "s": scales(16)}
    kind = "double" if "double" in inputs else "float"
    text = f"g ({inputs}) => ({kind}[n, 16] y) {{ {body} \n y = MatMul (x, w) }}"
    used = {name: value for name, value in weights.items() if name in body.partition("(")[2]}
    given = from_proto(proto_of(text, used, 17))
    assert with_float_weights(given) is given


def test_names_that_the_graph_has_stay_its_own() -> None:
    body = "k_1 = Relu (x) \n k = Cast <to = 1> (h) \n k_0 = MatMul (k_1, k) \n v = Relu (k_0)"
    text = f"g (float[n, 128] x) => (float[n, 128] y) {{ {body} \n i = Identity (v) \n y = MatMul (i, k) }}"
    given = proto_of(text, {"h": RNG.normal(size=(128, 128)).astype(np.float16)}, 17)
    value = {"x": np.random.default_rng(1).normal(size=(3, 128)).astype(np.float32)}
    simplified = simplify(from_proto(given)).model.to_proto()
    assert Counter(node.op_type for node in simplified.graph.node) == {"Cast": 1, "MatMul": 2, "Relu": 2}
    assert simplified.ByteSize() < 1.1 * given.ByteSize()
    np.testing.assert_array_equal(open_proto(simplified).run(value)["y"], open_proto(given).run(value)["y"])


def test_a_constant_that_is_read_twice_is_stored_once() -> None:
    body = """
        f = Cast <to = 1> (q) \n s = Cast <to = 1> (t) \n z = Cast <to = 1> (o)
        m = Mul (f, s) \n c = Mul (z, s) \n w = Sub (m, c) \n i = Identity (x) \n p = MatMul (i, w)
    """
    weights = {"q": integers(256, 128), "t": scales(128).astype(np.float16), "o": integers(128)}
    text = f"g (float[n, 256] x) => (float[n, 128] y) {{ {body} \n y = Add (p, b) }}"
    given = proto_of(text, weights | {"b": scales(128)}, 17)
    simplified = simplify(from_proto(given)).model.to_proto()
    operators = Counter(node.op_type for node in simplified.graph.node)
    assert operators == {"Cast": 3, "Mul": 2, "Sub": 1, "Gemm": 1}
    assert len(simplified.graph.initializer) == 4
    np.testing.assert_allclose(answers(simplified), answers(given), rtol=1e-5, atol=1e-6)


def test_weights_stay_where_their_floats_would_make_the_file_grow() -> None:
    half = RNG.normal(size=(512, 512)).astype(np.float16)
    body = "i = Identity (x) \n w = Cast <to = 1> (h) \n v = MatMul (i, w) \n y = Mul (v, factor)"
    text = f"g (float[n, 512] x) => (float[n, 512] y) {{ {body} }}"
    given = proto_of(text, {"h": half, "factor": scales(512)}, 17)
    result = simplify(from_proto(given))
    assert [node.op_type for node in result.model.to_proto().graph.node] == ["Cast", "MatMul", "Mul"]
    assert any("weights from fewer bits was left: the file would grow" in each for each in result.refusals)


def test_large_models_are_not_copied_to_float(monkeypatch: pytest.MonkeyPatch) -> None:
    given = from_proto(model("half"))
    monkeypatch.setattr("optimizer.graph.narrow_weights._LARGEST_BYTES", given.weight_bytes - 1)
    assert with_float_weights(given) is given
