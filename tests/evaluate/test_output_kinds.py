import onnx.parser
import onnx.shape_inference
import pytest

from optimizer.evaluate import declared_kinds, output_kinds
from optimizer.model import from_proto


def kinds(body: str, output: str = "float[N, 4] y", inputs: str = "float[N, 4] x", opset: int = 17) -> object:
    text = f'<ir_version: 8, opset_import: ["" : {opset}]> g ({inputs}) => ({output}) {{ {body} }}'
    model = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text))
    found = output_kinds(from_proto(model))
    return next(iter(found.values())) if len(found) == 1 else found


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("y = Softmax (x)", "softmax"),
        ("y = Softmax <axis = 1> (x)", "softmax"),
        ("y = Softmax <axis = 0> (x)", "other"),
        ("y = LogSoftmax <axis = -1> (x)", "softmax"),
        ("y = Sigmoid (x)", "sigmoid"),
        ("y = Relu (x)", "other"),
        ("s = Softmax (x) y = Identity (s)", "softmax"),
        ("s = Sigmoid (x) t = Identity (s) y = Cast <to = 1> (t)", "sigmoid"),
        ("s = Softmax (x) y = Mul (s, s)", "other"),
        ("y = Identity (x)", "other"),
        (
            "s = Softmax (x) sc = Constant <value_float = 0.1> () zp = Constant <value = uint8 {0}> () "
            "q = QuantizeLinear (s, sc, zp) y = DequantizeLinear (q, sc, zp)",
            "softmax",
        ),
    ],
)
def test_the_operator_that_ends_an_output_tells_its_kind(body: str, kind: str) -> None:
    assert kinds(body) == kind


def test_the_class_axis_is_followed_through_a_transpose() -> None:
    over = "s = Softmax <axis = {}> (x) y = Transpose <perm = [0, 2, 1]> (s)"
    for axis, kind in ((1, "softmax"), (2, "other")):
        assert kinds(over.format(axis), "float[N, 3, 4] y", "float[N, 4, 3] x") == kind


def test_a_reshape_that_keeps_the_last_axis_is_looked_through() -> None:
    body = "s = Softmax (x) shape = Constant <value_ints = [0, {}]> () y = Reshape (s, shape)"
    assert kinds(body.format(4), "float[N, 4] y", "float[N, 1, 4] x") == "softmax"
    assert kinds(body.format(8), "float[N, 8] y", "float[N, 2, 4] x") == "other"


def test_a_squeeze_of_another_axis_is_looked_through() -> None:
    body = "s = Softmax (x) axes = Constant <value_ints = [{}]> () y = Squeeze (s, axes)"
    assert kinds(body.format(1), "float[N, 4] y", "float[N, 1, 4] x") == "softmax"
    assert kinds(body.format(2), "float[N, 4] y", "float[N, 4, 1] x") == "other"


def test_before_opset_13_softmax_runs_over_axis_1() -> None:
    assert kinds("y = Softmax (x)", opset=12) == "softmax"


def test_each_output_has_its_kind() -> None:
    found = kinds("y = Softmax (x) z = Relu (x)", "float[N, 4] y, float[N, 4] z")
    assert found == {"y": "softmax", "z": "other"}


def test_a_class_metric_declares_a_single_output_to_be_class_scores() -> None:
    assert declared_kinds({"y": "other"}, "top-1") == {"y": "softmax"}
    assert declared_kinds({"y": "other"}, "auto") == {"y": "other"}
    assert declared_kinds({"y": "other", "z": "other"}, "top-5") == {"y": "other", "z": "other"}
    assert declared_kinds({"y": "sigmoid"}, "top-1") == {"y": "sigmoid"}
