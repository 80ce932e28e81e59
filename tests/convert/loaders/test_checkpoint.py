from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import WEIGHT, Build, inference, save
from keras_models import convert

from optimizer.convert.detect import detect
from optimizer.convert.scan import scan
from optimizer.convert.upload import prepare_upload
from optimizer.errors import (
    InvalidModelError,
    InvalidOptionsError,
    UnsafeModelError,
    UnsupportedModelError,
)
from optimizer.runtime import open_session


def training(v1: Any, named: bool = True) -> None:
    """A classifier with labels, dropout, loss, accuracy, summaries and an optimizer."""
    x = v1.placeholder(v1.float32, (None, 2), name="x")
    labels = v1.placeholder(v1.int64, (None,), name="labels")
    keep = v1.placeholder_with_default(1.0, (), name="keep_prob")
    logits = v1.matmul(v1.nn.dropout(x, keep), v1.get_variable("weight", initializer=WEIGHT))
    logits = v1.identity(logits, name="logits")
    if named:
        v1.nn.softmax(logits, name="scores")
    loss = v1.losses.sparse_softmax_cross_entropy(labels, logits)
    right = v1.equal(v1.argmax(logits, 1), labels)
    v1.summary.scalar("accuracy", v1.reduce_mean(v1.cast(right, v1.float32)))
    v1.train.AdamOptimizer().minimize(loss, v1.train.get_or_create_global_step())


def test_a_checkpoint_becomes_a_model_with_its_weights(tmp_path: Path) -> None:
    upload = save(tmp_path / "upload", inference)
    assert detect(upload) == "checkpoint"
    scan(upload, "checkpoint")
    conversion, workspace = convert(upload, "checkpoint", tmp_path)
    assert [spec.name for spec in conversion.inputs] == ["in/x"]
    assert [spec.name for spec in conversion.outputs] == ["scores"]
    assert conversion.parity is not None
    found = open_session(workspace.converted).run({"in/x": np.eye(2, dtype=np.float32)})["scores"]
    wanted = np.exp(WEIGHT) / np.exp(WEIGHT).sum(1, keepdims=True)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def resource(v1: Any) -> None:
    inference(v1, resource=True)


def partitioned(v1: Any) -> None:
    import tensorflow as tf

    ids = v1.placeholder(v1.int32, (None,), name="in/x")
    cut = v1.fixed_size_partitioner(2)
    table = v1.get_variable("table", (10, 2), partitioner=cut, use_resource=False)
    tf.identity(tf.nn.embedding_lookup(tf.concat(list(table), 0), ids), name="rows")


def looped(v1: Any) -> None:
    import tensorflow as tf

    x = v1.placeholder(v1.float32, (None, 2), name="in/x")
    weight = v1.get_variable("weight", initializer=WEIGHT, use_resource=True)
    step = tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, tf.tanh(a @ weight)), (0, x))[1]
    tf.identity(step, name="last")


@pytest.mark.parametrize("build", [resource, looped])
def test_variables_of_either_kind_and_in_loops_get_their_values(tmp_path: Path, build: Build) -> None:
    _, workspace = convert(save(tmp_path / "upload", build), "checkpoint", tmp_path)
    value = np.array([[0.5, 0.25]], np.float32)
    (found,) = open_session(workspace.converted).run({"in/x": value}).values()
    wanted = np.exp(value @ WEIGHT) / np.exp(value @ WEIGHT).sum()
    if build is looped:
        wanted = np.tanh(np.tanh(np.tanh(value @ WEIGHT) @ WEIGHT) @ WEIGHT)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_a_partitioned_variable_is_put_together_from_its_slices(tmp_path: Path) -> None:
    import tensorflow as tf

    upload = save(tmp_path / "upload", partitioned)
    _, workspace = convert(upload, "checkpoint", tmp_path)
    ids = np.array([0, 4, 5, 9], np.int32)
    found = open_session(workspace.converted).run({"in/x": ids})["rows"]
    whole = tf.train.load_checkpoint(str(upload / "model.ckpt")).get_tensor("table")
    assert whole.shape == (10, 2)
    np.testing.assert_array_equal(found, whole[ids])


def test_a_variable_saved_under_another_name_is_found(tmp_path: Path) -> None:
    import tensorflow as tf

    v1 = tf.compat.v1
    folder = tmp_path / "upload"
    folder.mkdir()
    with v1.Graph().as_default(), v1.Session() as session:
        inference(v1)
        session.run(v1.global_variables_initializer())
        (weight,) = v1.global_variables()
        v1.train.Saver({"weight/ExponentialMovingAverage": weight}).save(session, str(folder / "model"))
    conversion, _ = convert(folder, "checkpoint", tmp_path)
    assert [spec.name for spec in conversion.outputs] == ["scores"]


def test_a_checkpoint_of_the_first_version_is_read(tmp_path: Path) -> None:
    upload = save(tmp_path / "upload", inference, write_version=1)
    assert not (upload / "model.ckpt.index").exists()
    assert detect(upload) == "checkpoint"
    conversion, _ = convert(upload, "checkpoint", tmp_path)
    assert conversion.parity is not None


def test_a_graph_beside_a_checkpoint_stands_in_for_its_meta(tmp_path: Path) -> None:
    import tensorflow as tf

    upload = save(tmp_path / "upload", inference)
    (upload / "model.ckpt.meta").unlink()
    with tf.Graph().as_default() as made:
        inference(tf.compat.v1)
    tf.io.write_graph(made, str(upload), "graph.pbtxt", as_text=True)
    assert detect(upload) == "checkpoint"
    scan(upload, "checkpoint")
    conversion, _ = convert(upload, "checkpoint", tmp_path)
    assert [spec.name for spec in conversion.outputs] == ["scores"]


def test_of_a_training_graph_the_prediction_alone_is_taken(tmp_path: Path) -> None:
    conversion, _ = convert(save(tmp_path / "upload", training), "checkpoint", tmp_path)
    assert [spec.name for spec in conversion.inputs] == ["x"]
    assert [spec.name for spec in conversion.outputs] == ["scores"]
    assert any("without labels: scores" in note for note in conversion.notes)
    assert any("left out: labels" in note for note in conversion.notes)


def unnamed(v1: Any) -> None:
    training(v1, named=False)


def test_a_training_graph_without_a_plain_prediction_names_the_candidates(tmp_path: Path) -> None:
    upload = save(tmp_path / "upload", unnamed)
    with pytest.raises(UnsupportedModelError, match=r"Candidates: .*logits.*ArgMax") as caught:
        convert(upload, "checkpoint", tmp_path)
    assert "option `outputs`" in caught.value.hint
    conversion, _ = convert(upload, "checkpoint", tmp_path / "upload", outputs=("logits:0",))
    assert [spec.name for spec in conversion.outputs] == ["logits"]


def test_the_latest_of_several_checkpoints_is_taken(tmp_path: Path) -> None:
    upload = save(tmp_path / "upload", inference, "model.ckpt-1")
    save(upload, resource, "model.ckpt-2")
    (upload / "checkpoint").write_text('model_checkpoint_path: "/home/them/run/model.ckpt-1"\n')
    (upload / "model.ckpt-2.index").write_bytes(b"broken")
    conversion, _ = convert(upload, "checkpoint", tmp_path)
    assert conversion.parity is not None
    (upload / "checkpoint").unlink()
    with pytest.raises(InvalidOptionsError, match=r"2 checkpoints: model\.ckpt-1, model\.ckpt-2"):
        convert(upload, "checkpoint", upload)


def test_an_archive_of_a_checkpoint_is_extracted(tmp_path: Path) -> None:
    upload = save(tmp_path / "upload", inference)
    with zipfile.ZipFile(tmp_path / "upload.zip", "w") as archive:
        for path in sorted(upload.iterdir()):
            archive.write(path, f"run/{path.name}")
    assert detect(tmp_path / "upload.zip") == "checkpoint"
    folder = prepare_upload(tmp_path / "upload.zip", tmp_path / "extracted")
    scan(folder, "checkpoint")
    assert convert(folder, "checkpoint", tmp_path)[0].parity is not None


def unsafe(v1: Any) -> None:
    import tensorflow as tf

    tf.io.write_file(v1.constant("made_by_the_test"), v1.placeholder(v1.string, (), name="x"))
    with v1.control_dependencies([tf.io.write_file(v1.constant("made_by_the_test"), v1.constant("x"))]):
        inference(v1)


def test_an_operator_that_writes_is_refused_behind_an_output(tmp_path: Path) -> None:
    upload = save(tmp_path / "upload", unsafe)
    with pytest.raises(UnsafeModelError, match="WriteFile"):
        convert(upload, "checkpoint", tmp_path)
    assert not Path("made_by_the_test").exists()


def test_a_link_among_the_files_is_refused(tmp_path: Path) -> None:
    upload = save(tmp_path / "upload", inference)
    data = next(upload.glob("*.data-*"))
    shutil.move(data, tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeModelError, match=r"\.data-00000-of-00001 of the checkpoint is a link"):
        scan(upload, "checkpoint")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("saved") / "upload", inference)


@pytest.mark.parametrize(
    ("missing", "kind", "says"),
    [
        (
            "*.meta",
            UnsupportedModelError,
            r"weights alone: the graph is missing \(there is no model\.ckpt\.meta",
        ),
        ("*.data-*", InvalidModelError, r"model\.ckpt\.index, but no model\.ckpt\.data"),
        ("*.[id]*", InvalidModelError, r"model\.ckpt\.meta, but no model\.ckpt\.index"),
    ],
)
def test_an_incomplete_checkpoint_is_told_what_is_missing(
    saved: Path, tmp_path: Path, missing: str, kind: type[Exception], says: str
) -> None:
    upload = Path(shutil.copytree(saved, tmp_path / "upload"))
    for path in upload.glob(missing):
        path.unlink()
    with pytest.raises(kind, match=says):
        detect(upload)


@pytest.mark.parametrize("name", ["model.ckpt.index", "model.ckpt.data-00000-of-00001"])
def test_one_file_of_a_checkpoint_is_weights_alone(saved: Path, name: str) -> None:
    with pytest.raises(UnsupportedModelError, match=f"{name} is a file of a TensorFlow checkpoint"):
        detect(saved / name)


def test_the_name_of_a_checkpoint_is_answered_with_the_files_to_give(saved: Path) -> None:
    with pytest.raises(InvalidModelError, match="a checkpoint of that name does") as caught:
        detect(saved / "model.ckpt")
    assert ".meta, .index and .data" in caught.value.hint


def test_the_variables_of_a_savedmodel_alone_lack_their_graph(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    for path in saved.glob("model.ckpt.[id]*"):
        shutil.copy(path, tmp_path / "variables" / path.name.replace("model.ckpt", "variables"))
    for upload in (tmp_path, tmp_path / "variables"):
        with pytest.raises(UnsupportedModelError, match=r"variables of a SavedModel, but no saved_model\.pb"):
            detect(upload)


def test_a_checkpoint_of_tensorflow_2_is_weights_alone(tmp_path: Path) -> None:
    import tensorflow as tf

    tf.train.Checkpoint(weight=tf.Variable(WEIGHT)).save(str(tmp_path / "upload" / "ckpt"))
    with pytest.raises(UnsupportedModelError, match="weights alone: the graph is missing") as caught:
        detect(tmp_path / "upload")
    assert "tf.saved_model.save" in caught.value.hint


def test_weights_that_do_not_belong_to_the_graph_are_named(saved: Path, tmp_path: Path) -> None:
    upload = Path(shutil.copytree(saved, tmp_path / "upload"))

    def other(v1: Any) -> None:
        v1.get_variable("their_weight", initializer=WEIGHT)

    other_folder = save(tmp_path / "other", other)
    for path in other_folder.glob("model.ckpt.[id]*"):
        shutil.copy(path, upload)
    with pytest.raises(InvalidModelError, match="no value for the variable weight"):
        convert(upload, "checkpoint", tmp_path)


def test_a_damaged_checkpoint_is_invalid(saved: Path, tmp_path: Path) -> None:
    upload = Path(shutil.copytree(saved, tmp_path / "upload"))
    (upload / "model.ckpt.index").write_bytes(b"no table" * 10)
    with pytest.raises(InvalidModelError, match=r"model\.ckpt cannot be read"):
        convert(upload, "checkpoint", tmp_path)
