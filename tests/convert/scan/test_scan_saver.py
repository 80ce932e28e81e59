from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf
from savedmodels import edit, function_with, refusal


def test_the_savers_functions_may_be_called_by_the_saver_alone(plain: Path) -> None:
    def call_from_a_method(meta_graph: Any) -> None:
        saving = function_with(meta_graph, "SaveV2").signature.name
        method = function_with(meta_graph, "Sum")
        method.node_def.add(name="sneak", op="PartitionedCall").attr["f"].func.name = saving

    assert "writes files" in refusal(edit(plain, call_from_a_method))


def test_an_object_may_not_have_the_saving_function_as_its_method(plain: Path) -> None:
    def name_as_method(meta_graph: Any) -> None:
        saving = function_with(meta_graph, "SaveV2").signature.name
        meta_graph.object_graph_def.nodes.add().bare_concrete_function.concrete_function_name = saving

    assert "writes files" in refusal(edit(plain, name_as_method))


def test_loading_may_not_start_the_saving_half(plain: Path) -> None:
    def swap(meta_graph: Any) -> None:
        meta_graph.saver_def.restore_op_name = meta_graph.saver_def.save_tensor_name.split(":")[0]

    assert "files, so the model is not loaded" in refusal(edit(plain, swap))  # SaveV2, or RestoreV2


def test_restoring_reads_what_it_is_given_and_nothing_else(plain: Path) -> None:
    def redirect(meta_graph: Any) -> None:
        restoring = function_with(meta_graph, "RestoreV2")
        other = restoring.node_def.add(name="other", op="Const")
        other.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/elsewhere/checkpoint"))
        next(node for node in restoring.node_def if node.op == "RestoreV2").input[0] = "other:output:0"

    assert "RestoreV2" in refusal(edit(plain, redirect))


def test_a_tensorflow_1_initializer_may_not_start_the_saving_half(tmp_path: Path) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, (None, 3), "x")
        y = tf.matmul(x, v1.get_variable("w", (3, 2)))
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            v1.saved_model.simple_save(session, str(tmp_path / "model"), {"x": x}, {"y": y})

    def start(meta_graph: Any) -> None:
        meta_graph.collection_def["saved_model_main_op"].node_list.value.append(
            meta_graph.saver_def.save_tensor_name.split(":")[0]
        )

    assert "writes files" in refusal(edit(tmp_path / "model", start))
