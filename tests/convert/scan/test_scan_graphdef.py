from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from optimizer.convert.scan import scan
from optimizer.errors import UnsafeModelError, UnsupportedModelError


def frozen(operator: str = "Relu") -> Any:
    with tf.Graph().as_default() as graph:
        tf.nn.relu(tf.compat.v1.placeholder(tf.float32, (None, 3), "x"), name="y")
    definition = graph.as_graph_def()
    definition.node[-1].op = operator
    return definition


def test_a_frozen_graph_is_scanned(tmp_path: Path) -> None:
    path = tmp_path / "model.pb"
    path.write_bytes(frozen().SerializeToString())
    scan(path, "graphdef")
    path.write_bytes(frozen("WriteFile").SerializeToString())
    with pytest.raises(UnsafeModelError, match="Operator WriteFile, node y, in the main graph"):
        scan(path, "graphdef")


def test_a_graph_with_a_saver_is_told_to_be_frozen_first(tmp_path: Path) -> None:
    path = tmp_path / "model.pb"
    path.write_bytes(frozen("SaveV2").SerializeToString())
    with pytest.raises(UnsupportedModelError, match="not frozen"):
        scan(path, "graphdef")
