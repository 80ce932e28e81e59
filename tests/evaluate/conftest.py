from collections.abc import Callable
from pathlib import Path

import onnx
import onnx.parser
import pytest

from optimizer.runtime import Session, open_session

OpenText = Callable[..., Session]


@pytest.fixture
def open_text(tmp_path: Path) -> OpenText:
    """Opens a model given as ONNX text."""
    opened = 0

    def run(body: str, inputs: str = "float[N, 4] x", outputs: str = "float[N, 4] y") -> Session:
        nonlocal opened
        opened += 1
        model = onnx.parser.parse_model(
            f'<ir_version: 8, opset_import: ["" : 17]> g ({inputs}) => ({outputs}) {{ {body} }}'
        )
        path = tmp_path / f"{opened}.onnx"
        onnx.save(model, path)
        return open_session(path)

    return run
