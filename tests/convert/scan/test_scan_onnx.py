from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import onnx.parser
import pytest
from onnx import TensorProto, helper

from optimizer.convert.scan import scan
from optimizer.errors import InvalidModelError, UnsafeModelError, UnsupportedModelError

IF_TEXT = """
<ir_version: 8, opset_import: ["" : 17, "own.domain" : 1]>
g (bool c, float[2] x) => (float[2] y) {
  y = If (c) <
    then_branch = yes () => (float[2] a) { a = DOMAIN.Relu(x) },
    else_branch = no () => (float[2] b) { b = Identity(x) }
  >
}
"""


def write(path: Path, model: onnx.ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def one_node(**attributes: Any) -> onnx.ModelProto:
    node = helper.make_node("Constant", [], ["y"], name="made", **attributes)
    graph = helper.make_graph([node], "g", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def external(name: str = "w", location: str = "../x") -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def test_an_honest_model_with_a_subgraph_passes(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(IF_TEXT.replace("DOMAIN.", ""))
    scan(write(tmp_path / "model.onnx", model), "onnx")


def test_a_custom_domain_inside_a_branch_is_refused(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(IF_TEXT.replace("DOMAIN", "own.domain"))
    with pytest.raises(UnsupportedModelError, match=r"operator Relu is of the domain own\.domain"):
        scan(write(tmp_path / "model.onnx", model), "onnx")


def test_a_function_of_the_model_itself_may_have_any_domain_and_is_walked(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17, "own" : 1]> g (float[2] x) => (float[2] y) { y = own.f(x) }'
        '<domain: "own", opset_import: ["" : 17]> f (a) => (b) { b = Relu(a) }'
    )
    scan(write(tmp_path / "model.onnx", model), "onnx")
    model.functions[0].node[0].domain = "other"
    with pytest.raises(UnsupportedModelError, match="function f"):
        scan(write(tmp_path / "model.onnx", model), "onnx")


def test_values_in_another_file_are_refused_in_an_initializer(tmp_path: Path) -> None:
    model = one_node(value_floats=[1.0, 2.0])
    model.graph.initializer.append(external())
    with pytest.raises(UnsafeModelError, match=r"Initializer w .*'\.\./x'"):
        scan(write(tmp_path / "model.onnx", model), "onnx")


def test_values_in_another_file_are_refused_in_a_sparse_initializer(tmp_path: Path) -> None:
    model = one_node(value_floats=[1.0, 2.0])
    model.graph.sparse_initializer.add().values.CopyFrom(external())
    with pytest.raises(UnsafeModelError, match="Sparse initializer w"):
        scan(write(tmp_path / "model.onnx", model), "onnx")


def test_values_in_another_file_are_refused_inside_a_branch(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(IF_TEXT.replace("DOMAIN.", ""))
    model.graph.node[0].attribute[0].g.initializer.append(external("their_weight"))
    with pytest.raises(UnsafeModelError, match="Initializer their_weight"):
        scan(write(tmp_path / "model.onnx", model), "onnx")


def test_values_in_another_file_are_refused_in_an_attribute(tmp_path: Path) -> None:
    with pytest.raises(UnsafeModelError, match=r"Node made .*attribute value"):
        scan(write(tmp_path / "model.onnx", one_node(value=external())), "onnx")


def test_compiled_code_in_a_file_is_refused(tmp_path: Path) -> None:
    model = one_node(value_floats=[1.0, 2.0])
    model.graph.node[0].op_type, model.graph.node[0].domain = "EPContext", "com.microsoft"
    with pytest.raises(UnsafeModelError, match="EPContext"):
        scan(write(tmp_path / "model.onnx", model), "onnx")


def test_a_tensor_that_claims_more_than_a_file_can_hold_is_refused(tmp_path: Path) -> None:
    model = one_node(value_floats=[1.0, 2.0])
    model.graph.initializer.append(TensorProto(name="bomb", data_type=TensorProto.FLOAT, dims=[1 << 40]))
    with pytest.raises(UnsafeModelError, match="Initializer bomb"):
        scan(write(tmp_path / "model.onnx", model), "onnx")


def test_a_damaged_file_is_invalid(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x08\x3a\xff")
    with pytest.raises(InvalidModelError, match="cannot be parsed"):
        scan(path, "onnx")


CUSTOM = """
<ir_version: 8, opset_import: ["" : 17, "ai.onnx.contrib" : 1]>
g (string[n] x) => (string[n] y) { y = ai.onnx.contrib.OPERATOR(x) }
"""


def custom_model(operator: str, folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(onnx.parser.parse_model(CUSTOM.replace("OPERATOR", operator)), str(path))
    return path


def test_text_operators_of_the_library_are_taken_when_asked_for(tmp_path: Path) -> None:
    path = custom_model("StringRegexReplace", tmp_path)
    scan(path, "onnx", custom_operators=True)
    with pytest.raises(UnsupportedModelError, match="onnxruntime-extensions") as caught:
        scan(path, "onnx")
    assert "--onnxruntime-extensions" in caught.value.hint


def test_no_other_operator_of_the_library_is_taken(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="operator ImageReader"):
        scan(custom_model("ImageReader", tmp_path), "onnx", custom_operators=True)


def test_a_function_named_like_an_operator_of_the_library_is_refused(tmp_path: Path) -> None:
    path = custom_model("ImageReader", tmp_path)
    model = onnx.load(str(path))
    function = onnx.parser.parse_function(
        '<domain: "ai.onnx.contrib", opset_import: ["" : 17]> ImageReader (a) => (b) { b = Identity(a) }'
    )
    model.functions.append(function)
    onnx.save(model, str(path))
    with pytest.raises(UnsupportedModelError, match="operator ImageReader"):
        scan(path, "onnx", custom_operators=True)
