"""Which providers can be used here, found by running a small model on each."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from optimizer.errors import OptimizerError, UnavailableProviderError
from optimizer.goal import Provider
from optimizer.model import first_line
from optimizer.runtime import cuda
from optimizer.runtime.native import PROVIDERS
from optimizer.runtime.session import open_session

_MODEL = """
<ir_version: 8, opset_import: ["" : 17]>
probe (float[1,1,4,4] x) => (float[1,1,4,4] y)
<float[1,1,3,3] kernel = {0,0,0,0,2,0,0,0,0}, float[4,4] eye = {1,0,0,0,0,1,0,0,0,0,1,0,0,0,0,1}>
{
  scaled = Conv <pads = [1,1,1,1]> (x, kernel)
  y = MatMul(scaled, eye)
}
"""
# Conv needs cuDNN, MatMul needs cuBLAS.


def usable_providers() -> dict[Provider, str]:
    """Try each provider on a small real model.

    Returns:
        Provider to "" where it computed the right numbers, else to the reason why it cannot be used.
    """
    import onnx
    import onnx.parser

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.onnx"
        onnx.save(onnx.parser.parse_model(_MODEL), str(path))
        return {provider: _fault(path, provider) for provider in PROVIDERS}


def _fault(path: Path, provider: Provider) -> str:
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    try:
        y = open_session(path, provider).run({"x": x})["y"]
    except UnavailableProviderError:
        return cuda.reason()
    except OptimizerError as error:
        return first_line(error)
    return "" if np.allclose(y, 2 * x) else f"provider {provider} computes wrong numbers"
