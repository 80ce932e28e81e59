"""Wrong conversions, planted: the original is one ONNX model, the conversion another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from optimizer.convert.parity.comparison import Run, compare
from optimizer.convert.parity.parity import Proof, prove_parity
from optimizer.convert.prepared import Converted
from optimizer.data import open_dataset
from optimizer.errors import InvalidDataError, UnsupportedModelError
from optimizer.graph.structure import computes_in_half
from optimizer.runtime import open_session

HEAD = '<ir_version: 8, opset_import: ["" : 17]> m '
RIGHT = (
    "(float[batch, 2] x) => (float[batch, 2] first, float[batch, 2] second) "
    "<float[2, 2] w = {1.0, -2.0, 3.0, 0.5}, float[2] b = {1.0, -1.0}> "
    "{ h = MatMul (x, w) first = Add (h, b) second = Sub (h, b) }"
)
EXACT = Converted("ONNX Runtime")


def prove(folder: Path, original: str, converted: str, samples: Path | None = None) -> Proof:
    sessions = []
    for name, text in (("original", original), ("converted", converted)):
        path = folder / f"{name}.onnx"
        path.write_bytes(onnx.parser.parse_model(HEAD + text).SerializeToString())
        sessions.append(open_session(path))
    dataset = None
    if samples is not None:
        dataset = open_dataset(samples, sessions[1].inputs, sessions[1].outputs)
    return prove_parity(sessions[0], sessions[1], EXACT, dataset)


def pair(ours: object, theirs: object) -> Run:
    return {"y": np.asarray(ours)}, {"y": np.asarray(theirs)}


def test_equal_models_pass_at_two_batch_sizes(tmp_path: Path) -> None:
    parity = prove(tmp_path, RIGHT, RIGHT).parity
    assert (parity.batch_sizes, parity.inputs_from, parity.note) == ((1, 3), "generated", "")
    assert [(result.output, result.value) for result in parity.outputs] == [("first", 0.0), ("second", 0.0)]


def test_swapped_outputs_of_equal_shape_are_caught(tmp_path: Path) -> None:
    swapped = RIGHT.replace("first = Add", "second = Add").replace("second = Sub", "first = Sub")
    with pytest.raises(UnsupportedModelError, match=r"output first: max_norm is .* at most 0\.0001"):
        prove(tmp_path, RIGHT, swapped)


def test_a_shape_that_is_off_by_one_is_caught(tmp_path: Path) -> None:
    longer = (
        RIGHT.replace("float[batch, 2] second", "float[batch, 3] second")
        .replace("> {", ", int64[4] pad = {0, 0, 0, 1}> {")
        .replace("second = Sub (h, b)", "s = Sub (h, b) second = Pad (s, pad)")
    )
    with pytest.raises(UnsupportedModelError, match=r"output second has the shape \(1, 3\)"):
        prove(tmp_path, RIGHT, longer)


def test_a_perturbed_weight_is_caught(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="output first"):
        prove(tmp_path, RIGHT, RIGHT.replace("w = {1.0", "w = {1.001"))


def test_a_weight_that_differs_by_rounding_passes(tmp_path: Path) -> None:
    parity = prove(tmp_path, RIGHT, RIGHT.replace("w = {1.0", "w = {1.000001")).parity
    assert 0 < parity.outputs[0].value < 1e-5


def test_a_missing_output_is_caught_by_name(tmp_path: Path) -> None:
    renamed = RIGHT.replace("second", "third")
    with pytest.raises(UnsupportedModelError, match=r"'third'.*'second'"):
        prove(tmp_path, RIGHT, renamed)


def test_an_error_behind_a_saturated_softmax_is_caught(tmp_path: Path) -> None:
    steep = (
        "(float[batch, 2] x) => (float[batch, 3] y) "
        "<float[2, 3] w = {300.0, -200.0, 10.0, 300.0, 20.0, -300.0}> { h = MatMul (x, w) y = Softmax (h) }"
    )
    with pytest.raises(UnsupportedModelError, match="output y"):
        prove(tmp_path, steep, steep.replace("20.0, -300.0", "25.0, -300.0"))


def test_a_batch_size_that_only_the_original_takes_is_recorded(tmp_path: Path) -> None:
    free = "(float[batch, 2] x) => (float[batch, 2] y) { y = Relu (x) }"
    baked = (
        "(float[batch, 2] x) => (float[batch, 2] y) <int64[2] s = {1, 2}> { r = Reshape (x, s) y = Relu (r) }"
    )
    proof = prove(tmp_path, free, baked)
    assert proof.parity.batch_sizes == (1,)
    assert "ONNX Runtime refused batches of 3" in proof.parity.note
    assert proof.fixed_batch == 1


def test_a_fixed_batch_is_compared_at_that_size(tmp_path: Path) -> None:
    fixed = "(float[4, 2] x) => (float[4, 2] y) { y = Relu (x) }"
    parity = prove(tmp_path, fixed, fixed).parity
    assert parity.batch_sizes == (4,)
    assert "fixed batch size of 4" in parity.note


def test_an_original_that_refuses_every_input_is_told_from_a_bad_conversion(tmp_path: Path) -> None:
    original = "(float[batch, 5] x) => (float[batch, 5] y) { y = Relu (x) }"
    with pytest.raises(InvalidDataError, match="does not run the upload"):
        prove(tmp_path, original, original.replace("5", "6"))


def test_samples_show_what_made_up_inputs_do_not(tmp_path: Path) -> None:
    np.savez(tmp_path / "samples.npz", x=np.full((5, 2), -3.0, np.float32))
    relu = "(float[batch, 2] x) => (float[batch, 2] y) { y = Relu (x) }"
    absolute = relu.replace("Relu", "Abs")
    assert prove(tmp_path, relu, absolute).parity.outputs[0].value == 0.0
    with pytest.raises(UnsupportedModelError, match="output y"):
        prove(tmp_path, relu, absolute, tmp_path / "samples.npz")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ([1.0, np.nan], [1.0, 2.0]),
        ([1.0, 2.0], [np.nan, 2.0]),
        ([np.inf, 2.0], [-np.inf, 2.0]),
    ],
)
def test_nan_and_infinity_in_other_places_are_caught(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(UnsupportedModelError, match="stands in other places"):
        compare([pair(ours, theirs)], EXACT)


def test_nan_in_the_same_place_does_not_hide_another_difference() -> None:
    assert compare([pair([np.nan, 2.0], [np.nan, 2.0])], EXACT)[0].value == 0.0
    with pytest.raises(UnsupportedModelError, match="max_norm"):
        compare([pair([np.nan, 2.0], [np.nan, 2.1])], EXACT)


def test_one_run_that_differs_among_many_is_caught() -> None:
    runs = [pair([1.0, 2.0], [1.0, 2.0]), pair([1.0, 2.1], [1.0, 2.0])]
    with pytest.raises(UnsupportedModelError, match="over 2 batches"):
        compare(runs, EXACT)


def test_integers_booleans_and_texts_have_to_be_equal() -> None:
    assert compare([pair(np.array(["a"], object), np.array([b"a"], object))], EXACT)[0].value == 1.0
    for ours, theirs in (([1, 2], [1, 3]), ([True], [False])):
        with pytest.raises(UnsupportedModelError, match="agreement"):
            compare([pair(ours, theirs)], EXACT)


def test_another_dtype_is_caught() -> None:
    with pytest.raises(UnsupportedModelError, match="output y is float64"):
        compare([pair(np.zeros(2), np.zeros(2, np.float32))], EXACT)


def test_half_precision_has_its_own_tolerance() -> None:
    runs = [pair([1.0, 2.01], [1.0, 2.0])]
    assert compare(runs, Converted("TensorFlow", half=True))[0].tolerance == 1e-2
    with pytest.raises(UnsupportedModelError, match="max_norm"):
        compare(runs, EXACT)


def test_two_quantization_steps_may_differ_and_three_may_not() -> None:
    converted = Converted("TFLite", rounding="static", output_steps={"y": 0.1})
    compare([pair([1.19, 2.0], [1.0, 2.0])], converted)
    with pytest.raises(UnsupportedModelError, match="max_norm"):
        compare([pair([1.3, 2.0], [1.0, 2.0])], converted)
    integers = Converted("TFLite", rounding="static", output_steps={"y": 1.0})
    compare([pair(np.array([5, 7], np.int8), np.array([7, 7], np.int8))], integers)
    with pytest.raises(UnsupportedModelError, match="max_norm"):
        compare([pair(np.array([4, 7], np.int8), np.array([7, 7], np.int8))], integers)


def test_the_weaker_test_accepts_equal_answers_and_no_others() -> None:
    weak = Converted("TFLite", rounding="dynamic")
    close, far = compare([pair([[1.0, 2.0]], [[1.02, 2.0]])], weak), [[0.5, 2.9]]
    assert close[0].measure == "relative_l2"
    assert compare([pair(far, [[1.0, 2.0]])], weak)[0].measure == "agreement"
    with pytest.raises(UnsupportedModelError, match="agreement"):
        compare([pair([[3.0, 2.0]], [[1.0, 2.0]])], weak)


def test_a_sigmoid_may_differ_by_its_kernels_rounding_alone() -> None:
    sigmoid = Converted("TensorFlow", sigmoids=frozenset({"y"}))
    compare([pair([2.0e-4], [2.008e-4])], sigmoid)
    with pytest.raises(UnsupportedModelError, match="max_norm"):
        compare([pair([2.0e-4], [2.2e-4])], sigmoid)
    with pytest.raises(UnsupportedModelError, match="max_norm"):
        compare([pair([2.0e-4], [2.008e-4])], EXACT)


def test_half_precision_is_seen_inside_the_graph() -> None:
    text = "(float[n] x) => (float[n] y) { h = Cast <to: int = 10> (x) y = Cast <to: int = 1> (h) }"
    assert computes_in_half(onnx.parser.parse_model(HEAD + text))
    assert not computes_in_half(onnx.parser.parse_model(HEAD + RIGHT))


def test_a_model_that_rounds_coarsely_may_differ_as_far_as_its_own_last_bit_moves_it() -> None:
    near, far = pair([1.0003], [1.0]), pair([1.002], [1.0])
    with pytest.raises(UnsupportedModelError, match=r"0\.0001"):
        compare([near], EXACT)
    [result] = compare([near], EXACT, {"y": 1e-4})
    assert result.tolerance == pytest.approx(4e-4)
    with pytest.raises(UnsupportedModelError, match=r"0\.001"):
        compare([far], EXACT, {"y": 1.0})


def test_made_up_inputs_grow_until_the_model_takes_them(tmp_path: Path) -> None:
    text = """(float[batch, 2, length] x) => (float[batch, 1, left] y) <float[1, 2, 41] w = {WEIGHTS}>
        { y = Conv (x, w) }""".replace("WEIGHTS", ", ".join(["0.5"] * 82))
    parity = prove(tmp_path, text, text).parity
    assert parity.inputs_from == "generated"
    assert parity.batch_sizes == (1, 3)


CROPPED = """(float[batch, length, 2] x) => (float[batch, left, 2] y, float[batch, length, 2] z)
    <int64[1] start = {START}, int64[1] end = {-50}, int64[1] axis = {1}, float[1] two = {2.0}>
    { y = Slice (x, start, end, axis) z = Mul (x, two) }"""


def test_a_crop_is_compared_on_inputs_of_which_something_is_left(tmp_path: Path) -> None:
    right, wrong = CROPPED.replace("START", "50"), CROPPED.replace("START", "51")
    assert prove(tmp_path, right, right).parity.note == ""
    with pytest.raises(UnsupportedModelError, match="output y"):
        prove(tmp_path, right, wrong)


def test_an_output_that_is_always_empty_is_not_called_proven(tmp_path: Path) -> None:
    never = CROPPED.replace("START", "1000000")
    assert "nothing is known of y: empty for every input" in prove(tmp_path, never, never).parity.note
    alone = never.replace(", float[batch, length, 2] z", "").replace("z = Mul (x, two)", "")
    with pytest.raises(InvalidDataError, match="every output is empty"):
        prove(tmp_path, alone, alone)


def test_a_fixed_batch_larger_than_the_usual_number_of_samples_is_filled(tmp_path: Path) -> None:
    fixed = RIGHT.replace("batch", "50")
    assert prove(tmp_path, fixed, fixed).parity.batch_sizes == (50,)
    with pytest.raises(UnsupportedModelError, match="output first"):
        prove(tmp_path, fixed, fixed.replace("w = {1.0", "w = {1.001"))


def test_inputs_grow_where_the_upload_answers_with_nothing_and_its_conversion_stops(tmp_path: Path) -> None:
    crop = CROPPED.replace("START", "50")
    # ONNX Runtime stops where there is no first element to take.
    first = "s = Slice (x, start, end, axis) g = Gather <axis = 1> (s, zero) n = Sub (g, g) y = Add (s, n)"
    stops = crop.replace("y = Slice (x, start, end, axis)", first).replace(
        "<int64[1]", "<int64[1] zero = {0}, int64[1]"
    )
    assert prove(tmp_path, crop, stops).parity.batch_sizes == (1, 3)


def test_a_node_called_double_is_not_taken_for_a_type(tmp_path: Path) -> None:
    fails = RIGHT.replace("> {", ", int64[1] far = {9}> {").replace(
        "first = Add (h, b)", "first = Gather (h, far)"
    )
    proto = onnx.parser.parse_model(HEAD + fails)
    proto.graph.node[1].name = "double_conv/Gather"
    (tmp_path / "named.onnx").write_bytes(proto.SerializeToString())
    right = tmp_path / "right.onnx"
    right.write_bytes(onnx.parser.parse_model(HEAD + RIGHT).SerializeToString())
    with pytest.raises(UnsupportedModelError) as caught:
        prove_parity(open_session(right), open_session(tmp_path / "named.onnx"), EXACT, None)
    assert "float32" not in caught.value.hint
