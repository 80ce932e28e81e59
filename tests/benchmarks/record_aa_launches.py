"""Record launches that compare a model with itself, for the placebo test.

    onnxpress convert optimizer/demo/demo.keras -o demo.onnx
    python tests/benchmarks/record_aa_launches.py demo.onnx tests/search/aa_launches.json

Each launch is a fresh process; the second model is the first with its nodes renamed, so that nothing but
chance tells them apart.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import onnx

from optimizer.benchmark import LaunchRequest, LaunchTimes, describe_machine, time_launch
from optimizer.model import sha256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--launches", type=int, default=40)
    parser.add_argument("--limit-s", type=float, default=170.0)
    options = parser.parse_args()
    deadline = time.monotonic() + options.limit_s
    launches: list[LaunchTimes] = []
    with tempfile.TemporaryDirectory() as folder:
        placebo = Path(folder) / "placebo.onnx"
        onnx.save(renamed(onnx.load(str(options.model))), str(placebo))
        models = (options.model.resolve(), placebo)
        while len(launches) < options.launches and time.monotonic() < deadline:
            launches.append(spawn(LaunchRequest(models=models, seed=len(launches))))
    machine = describe_machine()
    recording = {
        "model": options.model.name,
        "sha256": sha256(options.model),
        "cpu": machine.cpu,
        "isa": machine.isa,
        "onnxruntime": machine.onnxruntime,
        "launches": [launch.model_dump(mode="json") for launch in launches],
    }
    options.recording.write_text(json.dumps(recording, indent=1) + "\n")
    sys.stdout.write(f"{len(launches)} launches recorded\n")


def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model, another hash."""
    for number, node in enumerate(model.graph.node):
        node.name = f"placebo_{number}"
    return model


def spawn(request: LaunchRequest) -> LaunchTimes:
    """Time one launch in a fresh process."""
    command = [sys.executable, str(Path(__file__).resolve()), "--launch"]
    done = subprocess.run(
        command, input=request.model_dump_json(), capture_output=True, text=True, check=True
    )
    return LaunchTimes.model_validate_json(done.stdout)


if __name__ == "__main__":
    if sys.argv[1:] == ["--launch"]:
        sys.stdout.write(time_launch(LaunchRequest.model_validate_json(sys.stdin.read())).model_dump_json())
    else:
        main()
