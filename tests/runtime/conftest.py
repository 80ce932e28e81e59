from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import onnx.parser
import pytest


@pytest.fixture
def save_text(tmp_path: Path) -> Callable[[str], Path]:
    """Write a model given as ONNX text (the graph alone), and return its path."""

    def save(graph: str, imports: str = '"" : 17') -> Path:
        path = tmp_path / "model.onnx"
        text = f"<ir_version: 8, opset_import: [{imports}]>\n{graph}"
        onnx.save(onnx.parser.parse_model(text), str(path))
        return path

    return save
