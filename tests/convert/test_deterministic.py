"""One model gives the same bytes each time: a stage that runs again must not change what follows from it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

CONVERT = (
    "import sys; from pathlib import Path; "
    "from optimizer.convert.tf2onnx_tool import convert_savedmodel; "
    "model = convert_savedmodel(Path(sys.argv[1]), 'serving_default', Path('model.onnx')); "
    "sys.stdout.buffer.write(model.SerializeToString(deterministic=True))"
)


def test_two_processes_convert_a_savedmodel_to_the_same_bytes(real_model: Callable[[str], Path]) -> None:
    # As in a stage's environment; addresses differ from process to process all the same.
    environment = {"PYTHONHASHSEED": "0", "PATH": ""}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", CONVERT, str(real_model("basic-pitch"))],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    first, second = (process.communicate(timeout=120)[0] for process in started)
    assert len(first) > 100_000
    assert first == second
