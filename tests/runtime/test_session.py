from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from optimizer.errors import (
    InvalidDataError,
    InvalidModelError,
    ToolError,
    UnsupportedModelError,
)
from optimizer.results import TensorSpec
from optimizer.runtime import open_session

SaveText = Callable[..., Path]

CHAIN = """
g (float[N, 3] x, int64[N] rows) => (float[N, 3] y, float[2, 3] picked)
<float[2, 3] table = {0, 1, 2, 3, 4, 5}>
{
  picked = Identity(table)
  gathered = Gather<axis = 0>(table, rows)
  clipped = Relu(x)
  y = Add(clipped, gathered)
}
"""


def test_specs_give_numpy_names_and_free_axes(save_text: SaveText) -> None:
    session = open_session(save_text(CHAIN))
    assert session.inputs == (
        TensorSpec(name="x", dtype="float32", shape=("N", 3)),
        TensorSpec(name="rows", dtype="int64", shape=("N",)),
    )
    assert [spec.name for spec in session.outputs] == ["y", "picked"]


def test_a_run_returns_every_output_by_name(save_text: SaveText) -> None:
    session = open_session(save_text(CHAIN))
    outputs = session.run({"x": np.array([[-1, 2, 3]], np.float32), "rows": np.array([1])})
    np.testing.assert_array_equal(outputs["y"], [[3, 6, 8]])
    np.testing.assert_array_equal(outputs["picked"], [[0, 1, 2], [3, 4, 5]])


def test_repeatable_and_bound_runs_compute_the_same(save_text: SaveText) -> None:
    session = open_session(save_text(CHAIN))
    feeds = {"x": np.ones((2, 3), np.float32), "rows": np.array([0, 1])}
    session.repeatable(feeds)()
    bound = session.bind(feeds)
    bound.run()
    for name, value in session.run(feeds).items():
        np.testing.assert_array_equal(bound.outputs()[name], value)


@pytest.mark.parametrize(
    ("graph", "batch"),
    [
        ("g (float[4, 3] x) => (float[4, 3] y) { y = Relu(x) }", 4),
        ("g (float[N, 3] x) => (float[N, 3] y) { y = Relu(x) }", None),
        ("g (float[4, 3] x, float s) => (float[4, 3] y) { y = Mul(x, s) }", 4),
        ("g (float[4, 3] x, float[N, 3] z) => (float[4, 3] y) { y = Mul(x, z) }", None),
    ],
)
def test_fixed_batch_is_the_first_axis_that_all_inputs_share(
    save_text: SaveText, graph: str, batch: int | None
) -> None:
    assert open_session(save_text(graph)).fixed_batch == batch


def test_placement_sums_to_the_nodes_of_the_graph(save_text: SaveText) -> None:
    graph = """
    g (float[N, 3] x) => (float[N, 3] y)
    <float[3, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9}>
    {
      a = MatMul(x, w)
      b = Sigmoid(a)
      c = Erf(b)
      y = Add(c, x)
    }
    """
    assert open_session(save_text(graph)).placement() == {"CPUExecutionProvider": 4}


@pytest.mark.parametrize(
    ("feeds", "words"),
    [
        ({"x": np.zeros((2, 3), np.float32)}, r"\['rows', 'x'\]"),
        ({"x": np.zeros((2, 3), np.float32), "row": np.zeros(2, np.int64)}, r"\['row', 'x'\]"),
        ({"x": np.zeros((2, 3)), "rows": np.zeros(2, np.int64)}, "float32.*float64"),
        ({"x": np.zeros((2, 4), np.float32), "rows": np.zeros(2, np.int64)}, r"\[N, 3\].*\[2, 4\]"),
        ({"x": np.zeros(3, np.float32), "rows": np.zeros(2, np.int64)}, r"\[N, 3\].*\[3\]"),
    ],
)
def test_feeds_that_do_not_fit_are_named(
    save_text: SaveText, feeds: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]], words: str
) -> None:
    session = open_session(save_text(CHAIN))
    for use in (session.run, session.bind, session.repeatable):
        with pytest.raises(InvalidDataError, match=words):
            use(feeds)


def test_a_value_that_the_model_rejects_is_the_datas_fault(save_text: SaveText) -> None:
    session = open_session(save_text(CHAIN))
    with pytest.raises(InvalidDataError, match="out of data bounds"):
        session.run({"x": np.zeros((1, 3), np.float32), "rows": np.array([7])})


def test_a_kernel_that_fails_is_a_tool_error_in_every_kind_of_run(save_text: SaveText) -> None:
    graph = """
    g (float[N, 3] x, float[M, 3] z) => (float[P, 3] y) { y = Add(x, z) }
    """
    session = open_session(save_text(graph))
    feeds = {"x": np.zeros((2, 3), np.float32), "z": np.zeros((5, 3), np.float32)}
    for run in (lambda: session.run(feeds), session.repeatable(feeds), session.bind(feeds).run):
        with pytest.raises(ToolError, match="Add"):
            run()


def test_garbage_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "garbage.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(InvalidModelError, match=r"garbage\.onnx"):
        open_session(path)


def test_a_graph_that_reads_an_undefined_value_is_no_model(save_text: SaveText) -> None:
    with pytest.raises(InvalidModelError, match="missing"):
        open_session(save_text("g (float[N] x) => (float[N] y) { y = Add(x, missing) }"))


def test_an_operator_without_a_kernel_is_named(save_text: SaveText) -> None:
    graph = "g (bfloat16[N] x) => (bfloat16[N] y) { y = Erf(x) }"
    with pytest.raises(UnsupportedModelError, match=r"Erf\(13\)"):
        open_session(save_text(graph))


def test_an_unknown_operator_is_named(save_text: SaveText) -> None:
    graph = "g (float[N] x) => (float[N] y) { y = acme.Frobnicate(x) }"
    with pytest.raises(UnsupportedModelError, match="acme:Frobnicate"):
        open_session(save_text(graph, '"" : 17, "acme" : 1'))


def test_an_output_that_is_no_tensor_is_refused_by_name(save_text: SaveText) -> None:
    graph = "g (float[N] x) => (seq(float[N]) pieces) { pieces = SequenceConstruct(x) }"
    with pytest.raises(UnsupportedModelError, match="pieces"):
        open_session(save_text(graph))
