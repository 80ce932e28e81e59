from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import convert

from optimizer.errors import InvalidModelError, UnsupportedModelError
from optimizer.runtime import open_session


def graph(folder: Path, build: Callable[[Any], None]) -> Path:
    """Write the graph that `build` makes with TensorFlow 1's functions."""
    import tensorflow as tf

    with tf.Graph().as_default() as made:
        build(tf.compat.v1)
    path = folder / "frozen.pb"
    path.write_bytes(made.as_graph_def().SerializeToString())
    return path


def scores(v1: Any) -> None:
    x = v1.placeholder(v1.float32, (None, 2), name="in/x")
    hidden = v1.nn.relu(v1.matmul(x, v1.constant([[1.0, -2.0], [3.0, 0.5]])))
    with v1.control_dependencies([v1.debugging.assert_non_negative(hidden)]):
        v1.nn.softmax(hidden, name="out/scores")
    v1.constant(3.0, name="left_over")
    v1.no_op(name="init")


def test_placeholders_go_in_and_what_nobody_consumes_comes_out(tmp_path: Path) -> None:
    conversion, workspace = convert(graph(tmp_path, scores), "graphdef", tmp_path)
    assert [spec.name for spec in conversion.inputs] == ["in_x"]
    assert [spec.name for spec in conversion.outputs] == ["out_scores"]
    assert "out_scores" in conversion.notes[0]
    assert conversion.parity is not None
    assert conversion.parity.batch_sizes == (1, 3)
    found = open_session(workspace.converted).run({"in_x": np.zeros((2, 2), np.float32)})
    np.testing.assert_allclose(found["out_scores"], np.full((2, 2), 0.5), atol=1e-7)


def test_two_results_are_told_apart(tmp_path: Path) -> None:
    def build(v1: Any) -> None:
        x = v1.placeholder(v1.float32, (None, 2), name="x")
        v1.add(x, 1.0, name="z_more")
        v1.subtract(x, 1.0, name="a_less")

    _, workspace = convert(graph(tmp_path, build), "graphdef", tmp_path)
    found = open_session(workspace.converted).run({"x": np.zeros((1, 2), np.float32)})
    assert found["z_more"][0, 0] == 1.0
    assert found["a_less"][0, 0] == -1.0


def test_a_graph_with_variables_is_not_frozen_and_says_which(tmp_path: Path) -> None:
    def build(v1: Any) -> None:
        x = v1.placeholder(v1.float32, (None, 2), name="x")
        v1.matmul(x, v1.Variable(np.eye(2, dtype=np.float32), name="their_weight", use_resource=True))

    with pytest.raises(UnsupportedModelError, match="their_weight"):
        convert(graph(tmp_path, build), "graphdef", tmp_path)


def test_a_graph_without_inputs_is_refused_with_its_last_nodes(tmp_path: Path) -> None:
    upload = graph(tmp_path, lambda v1: v1.constant(3.0, name="only"))
    with pytest.raises(UnsupportedModelError, match=r"no Placeholder.*only"):
        convert(upload, "graphdef", tmp_path)


def test_a_file_of_another_kind_is_invalid(tmp_path: Path) -> None:
    path = tmp_path / "frozen.pb"
    path.write_bytes(b"\xff" * 40)
    with pytest.raises(InvalidModelError, match=r"frozen\.pb"):
        convert(path, "graphdef", tmp_path)
