"""RMSNormalization in every spelling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from rewrite_cases import Array, assert_left, assert_same, normal, operators, proto_of, rewritten

from optimizer.graph.rewrites.rms_normalization import FUSE_RMS_NORMALIZATION
from optimizer.runtime import optimize_basic

SQUARES = {"product": "q = Mul (x, x)", "power": "q = Pow (x, two)"}
MEAN = "v = ReduceMean <axes = [-1]> (q) w = Add (v, epsilon)"
ENDS = {
    "Keras": "s = Sqrt (w) i = Reciprocal (s) g = Mul (i, gamma) y = Mul (x, g)",
    "PyTorch": "s = Sqrt (w) i = Reciprocal (s) n = Mul (x, i) y = Mul (gamma, n)",
    "quotient by the root": "s = Sqrt (w) i = Div (one, s) n = Mul (x, i) y = Mul (n, gamma)",
    "power": "i = Pow (w, minus_half) n = Mul (x, i) y = Mul (n, gamma)",
    "root as a power": "s = Pow (w, half) n = Div (x, s) y = Mul (n, gamma)",
    "gamma first": "s = Sqrt (w) n = Mul (x, gamma) y = Div (n, s)",
    "gamma first, inverse": "s = Sqrt (w) i = Reciprocal (s) n = Mul (x, gamma) y = Mul (n, i)",
}
FUSED = ["Pow", "ReduceMean", "Add", "Sqrt", "Div", "Mul"]
NUMBERS = {"epsilon": 1e-6, "one": 1.0, "two": 2.0, "half": 0.5, "minus_half": -0.5}


def model(body: str, shape: str = "batch, 3, 6", opset: int = 17) -> onnx.ModelProto:
    weights: dict[str, Array] = {name: np.array(value, np.float32) for name, value in NUMBERS.items()}
    weights |= {"gamma": 1 + 0.3 * normal(6, seed=1), "spread": normal(3, 1) ** 2}
    used: dict[str, Array] = {
        name: value for name, value in weights.items() if f" {name})" in body or f"({name}," in body
    }
    if opset >= 18:
        body = body.replace("ReduceMean <axes = [-1]> (q)", "ReduceMean (q, axes)")
        used["axes"] = np.array([-1])
    return proto_of(f"g (float[{shape}] x) => (float[{shape}] y) {{ {body} }}", used, opset)


@pytest.mark.parametrize(("shape", "opset"), [("batch, 6", 17), ("batch, 3, 6", 13), ("2, batch, 3, 6", 18)])
@pytest.mark.parametrize("square", SQUARES)
@pytest.mark.parametrize("end", ENDS)
def test_every_spelling_becomes_the_one_that_is_fused(end: str, square: str, shape: str, opset: int) -> None:
    before = model(f"{SQUARES[square]} {MEAN} {ENDS[end]}", shape, opset)
    after = rewritten(before, FUSE_RMS_NORMALIZATION)
    assert operators(after) == FUSED
    sizes = [2 if part == "batch" else int(part) for part in shape.split(", ")]
    assert_same(before, after, {"x": normal(*sizes)}, {"x": 1e-3 * normal(*sizes)})


def test_onnx_runtime_makes_one_kernel_of_it(tmp_path: Path) -> None:
    after = rewritten(model(f"{SQUARES['product']} {MEAN} {ENDS['Keras']}"), FUSE_RMS_NORMALIZATION)
    assert operators(optimize_basic(after)) == FUSED
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "trace")
    session = onnxruntime.InferenceSession(after.SerializeToString(), options, ["CPUExecutionProvider"])
    session.run(None, {"x": normal(2, 3, 6)})
    assert "SimplifiedLayerNormalization" in Path(session.end_profiling()).read_text(encoding="utf-8")


@pytest.mark.parametrize("end", ENDS)
def test_at_operator_set_23_it_is_the_operator(end: str) -> None:
    before = model(f"{SQUARES['product']} {MEAN} {ENDS[end]}", opset=23)
    after = rewritten(before, FUSE_RMS_NORMALIZATION)
    assert operators(after) == ["RMSNormalization"]
    assert_same(before, after, {"x": normal(2, 3, 6)})


END = " s = Sqrt (w) n = Div (x, s) y = Mul (n, gamma)"


@pytest.mark.parametrize(
    "body",
    [
        f"q = Pow (x, two) {MEAN}{END}",
        f"q = Abs (x) {MEAN}{END}",
        f"q = Mul (x, x) {MEAN} s = Sqrt (w) n = Mul (x, s) y = Mul (n, gamma)",
        f"q = Mul (x, x) {MEAN} s = Sqrt (w) n = Div (x, s) y = Add (n, gamma)",
        f"q = Mul (x, x) {MEAN} s = Sqrt (w) y = Div (x, s)",
        f"q = Mul (x, x) {MEAN} s = Sqrt (w) z = Neg (x) n = Div (z, s) y = Mul (n, gamma)",
        f"q = Mul (x, x) {MEAN} s = Sqrt (w) n = Div (x, s) y = Mul (n, spread)",
        f"q = Mul (x, x) {MEAN.replace('[-1]', '[1]')}{END}",
        f"q = Mul (x, x) {MEAN.replace('[-1]', '[1, 2]')}{END}",
        f"q = Mul (x, x) {MEAN.replace('epsilon', 'spread')}{END}",
        f"q = Mul (x, x) {MEAN.replace('Add', 'Sub')}{END}",
        f"q = Mul (x, x) {MEAN.replace('ReduceMean', 'ReduceMax')}{END}",
    ],
)
def test_what_differs_is_left(body: str) -> None:
    assert_left(model(body), FUSE_RMS_NORMALIZATION)


def test_a_gamma_of_one_number_is_left() -> None:
    body = f"{SQUARES['product']} {MEAN} s = Sqrt (w) n = Div (x, s) y = Mul (n, two)"
    assert_left(model(body), FUSE_RMS_NORMALIZATION)
