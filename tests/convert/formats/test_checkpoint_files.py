"""Checkpoints as others wrote them: odd names of files, graphs that still hold their training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from checkpoints import WEIGHT, inference, save
from keras_models import convert

from optimizer.convert.detect import detect
from optimizer.convert.scan import scan
from optimizer.convert.tensorflow_graph.clean_graph import give_flags_their_rank


@pytest.mark.parametrize("inside", ["", "run"])
def test_a_checkpoint_whose_files_have_endings_alone_is_read(tmp_path: Path, inside: str) -> None:
    # What a saver writes that is told a folder instead of a name.
    upload = save(tmp_path / "upload", inference) / inside
    upload.mkdir(exist_ok=True)
    for path in (tmp_path / "upload").glob("model.ckpt.*"):
        path.rename(upload / path.name.removeprefix("model.ckpt"))
    (tmp_path / "upload" / "checkpoint").unlink()
    (upload / "checkpoint").write_text('model_checkpoint_path: "/home/them/run/"\n')
    assert detect(tmp_path / "upload") == "checkpoint"
    scan(tmp_path / "upload", "checkpoint")
    conversion, _ = convert(tmp_path / "upload", "checkpoint", tmp_path)
    assert [spec.name for spec in conversion.outputs] == ["scores"]


def averaging(v1: Any) -> None:
    """A moving average of the batch, as BatchNormalization keeps it."""
    x = v1.placeholder(v1.float32, (None, 2), name="x")
    mean = v1.get_variable("mean", initializer=WEIGHT[0], trainable=False, use_resource=False)
    v1.assign_sub(mean, (mean - v1.reduce_mean(x, 0)) * 0.01)
    v1.nn.softmax(v1.matmul(x - mean, v1.get_variable("weight", initializer=WEIGHT)), name="scores")


def test_the_update_of_a_moving_average_is_no_result(tmp_path: Path) -> None:
    conversion, _ = convert(save(tmp_path / "upload", averaging), "checkpoint", tmp_path)
    assert [spec.name for spec in conversion.outputs] == ["scores"]


def test_a_flag_that_decides_a_condition_is_a_scalar() -> None:
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph:
        flag, free = v1.placeholder(v1.bool, name="is_training"), v1.placeholder(v1.bool, name="free")
        tf.raw_ops.Switch(data=tf.cast(free, tf.float32), pred=tf.identity(tf.identity(flag)))
    graph_def = graph.as_graph_def()
    give_flags_their_rank(graph_def)
    shapes = {node.name: node.attr["shape"].shape for node in graph_def.node if node.op == "Placeholder"}
    assert tf.TensorShape(shapes["is_training"]).as_list() == []
    assert tf.TensorShape(shapes["free"]).rank is None
