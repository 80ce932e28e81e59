from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from optimizer.benchmark import LaunchRequest, LaunchTimes

LAUNCH = """
import sys
from optimizer.benchmark import LaunchRequest, time_launch
request = LaunchRequest.model_validate_json(sys.stdin.read())
sys.stdout.write(time_launch(request).model_dump_json())
"""


@pytest.fixture
def launch() -> Callable[[LaunchRequest], LaunchTimes]:
    """Run a launch in a fresh process."""

    def run(request: LaunchRequest) -> LaunchTimes:
        done = subprocess.run(
            [sys.executable, "-P", "-c", LAUNCH],
            input=request.model_dump_json(),
            capture_output=True,
            text=True,
            check=True,
        )
        return LaunchTimes.model_validate_json(done.stdout)

    return run


@pytest.fixture
def save_products(tmp_path: Path) -> Callable[..., Path]:
    """Write a model that multiplies x [batch, 128] by a square matrix some times over."""

    def save(products: int, batch: int | str = "N") -> Path:
        weight = np.eye(128, dtype=np.float32)
        names = ["x", *(f"product_{number}" for number in range(1, products)), "y"]
        graph = helper.make_graph(
            [helper.make_node("MatMul", [names[i], "weight"], [names[i + 1]]) for i in range(products)],
            "products",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 128])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 128])],
            [numpy_helper.from_array(weight, "weight")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path = tmp_path / f"products_{products}_{batch}.onnx"
        onnx.save(model, str(path))
        return path

    return save
