"""What only a machine with a GPU can show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from optimizer.benchmark import LaunchRequest, time_launch
from optimizer.runtime import open_session, usable_providers

pytestmark = pytest.mark.skipif(usable_providers()["cuda"] != "", reason="no GPU")

MODEL = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 4] x) => (float[N, 2] y)
<float[4, 2] weight = {1, 2, 3, 4, 5, 6, 7, 8}>
{
  product = MatMul(x, weight)
  y = Sigmoid(product)
}
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(MODEL), str(path))
    return path


def test_cuda_computes_what_the_cpu_computes_and_runs_the_nodes_itself(model: Path) -> None:
    feeds = {"x": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)}
    session = open_session(model, "cuda")
    np.testing.assert_allclose(session.run(feeds)["y"], open_session(model).run(feeds)["y"], atol=1e-3)
    assert session.placement() == {"CUDAExecutionProvider": 2}


def test_bound_runs_stay_on_the_device_and_agree(model: Path) -> None:
    feeds = {"x": np.ones((3, 4), np.float32)}
    session = open_session(model, "cuda")
    bound = session.bind(feeds)
    bound.run()
    np.testing.assert_allclose(bound.outputs()["y"], session.run(feeds)["y"], rtol=1e-6)


def test_a_launch_gives_device_resident_and_end_to_end_times(model: Path) -> None:
    times = time_launch(LaunchRequest(models=(model, model), provider="cuda", batch_size=8))
    assert len(times.device_ms) == len(times.medians_ms) == 2
    assert times.placement == ({"CUDAExecutionProvider": 2},) * 2
