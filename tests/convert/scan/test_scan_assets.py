from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from savedmodels import edit, function_with, refusal, save

from optimizer.convert.scan import scan
from optimizer.errors import InvalidModelError


@pytest.fixture(scope="module")
def table_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a lookup table that is filled from an asset."""
    folder = tmp_path_factory.mktemp("table")
    (folder / "words.txt").write_text("a\nb\n")
    line, whole = tf.lookup.TextFileIndex.LINE_NUMBER, tf.lookup.TextFileIndex.WHOLE_LINE
    start = tf.lookup.TextFileInitializer(str(folder / "words.txt"), tf.string, whole, tf.int64, line)
    table = tf.lookup.StaticHashTable(start, -1)
    return save(folder / "model", lambda x: table.lookup(tf.strings.as_string(x)), table=table)


@pytest.fixture
def table(table_source: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(table_source, tmp_path / "table"))


def test_a_table_from_an_asset_passes(table: Path) -> None:
    scan(table, "savedmodel")


def test_a_table_from_a_path_in_the_function_is_refused(table: Path) -> None:
    def redirect(meta_graph: Any) -> None:
        start = function_with(meta_graph, "InitializeTableFromTextFileV2")
        path = start.node_def.add(name="path", op="Const")
        path.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/etc/passwd"))
        node = next(node for node in start.node_def if node.op == "InitializeTableFromTextFileV2")
        node.input[1] = "path:output:0"

    assert "InitializeTableFromTextFileV2" in refusal(edit(table, redirect))


def test_a_node_named_like_the_argument_does_not_pass_for_it(table: Path) -> None:
    def redirect(meta_graph: Any) -> None:
        start = function_with(meta_graph, "InitializeTableFromTextFileV2")
        node = next(node for node in start.node_def if node.op == "InitializeTableFromTextFileV2")
        twin = start.node_def.add(name=node.input[1], op="Const")
        twin.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/etc/passwd"))
        node.input[1] += ":output:0"

    assert "no asset" in refusal(edit(table, redirect))


def test_a_table_from_a_constant_that_is_bound_in_place_of_the_asset_is_refused(table: Path) -> None:
    def rebind(meta_graph: Any) -> None:
        name = function_with(meta_graph, "InitializeTableFromTextFileV2").signature.name
        meta_graph.object_graph_def.nodes.add().constant.operation = "Const"
        bound = meta_graph.object_graph_def.concrete_functions[name].bound_inputs
        bound[0] = len(meta_graph.object_graph_def.nodes) - 1

    assert "no asset" in refusal(edit(table, rebind))


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "a/../../../x", "..\\x", ""])
def test_an_asset_outside_the_assets_folder_is_refused(table: Path, name: str) -> None:
    def rename(meta_graph: Any) -> None:
        meta_graph.asset_file_def[0].filename = name

    assert repr(name) in refusal(edit(table, rename))


def test_an_asset_outside_named_as_tensorflow_1_names_it_is_refused(plain: Path) -> None:
    def put(meta_graph: Any) -> None:
        from tensorflow.core.protobuf import meta_graph_pb2

        asset = meta_graph_pb2.AssetFileDef(filename="../../x")
        meta_graph.collection_def["saved_model_assets"].any_list.value.add().Pack(asset)

    assert "'../../x'" in refusal(edit(plain, put))


def test_a_missing_asset_is_named(table: Path) -> None:
    (table / "assets" / "words.txt").unlink()
    assert "assets/words.txt" in refusal(table, InvalidModelError)


def test_a_link_in_the_folder_is_refused(table: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (table / "assets" / "words.txt").unlink()
    (table / "assets" / "words.txt").symlink_to(tmp_path / "secret")
    assert "assets/words.txt in table is a link" in refusal(table)
