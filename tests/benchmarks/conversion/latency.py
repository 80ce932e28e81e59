"""Our ONNX file against plain tf2onnx's, both in each launch, by the rules of `optimizer.benchmark`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.conversion.records import Record

from optimizer.benchmark import LaunchRequest, LaunchTimes, MeasureSettings, measure_pair
from optimizer.data import taken_scale
from optimizer.errors import OptimizerError, ToolError
from optimizer.results import Interval
from optimizer.runtime import open_session

LAUNCH = """
import sys
from optimizer.benchmark import LaunchRequest, time_launch
for line in sys.stdin:
    print(time_launch(LaunchRequest.model_validate_json(line)).model_dump_json())
"""


class Latency(Record):
    """How many times faster our file is than plain tf2onnx's."""

    words: str = ""
    latency_ms: float | None = None
    """Of our file."""
    ratio: Interval | None = None


def measure(folder: Path, launches: int) -> Latency:
    """Compare the two files of a model's folder at batch size 1, with one thread."""
    theirs, ours = folder / "plain.onnx", folder / "ours-0" / "converted.onnx"
    if not theirs.is_file() or not ours.is_file():
        return Latency(words="-")
    try:
        session = open_session(ours)
        settings = MeasureSettings(launches=launches, scale=taken_scale(session.inputs, session.run))
        row = measure_pair("ours", theirs, ours, settings, launch)
    except OptimizerError as error:
        return Latency(words=error.message)
    return Latency(latency_ms=row.latency_ms, ratio=row.ratio)


def launch(request: LaunchRequest) -> LaunchTimes:
    """One launch, in a process of its own."""
    return launch_together([request])[0]


def launch_together(requests: Sequence[LaunchRequest]) -> list[LaunchTimes]:
    """Launches one after another in one process of their own: an import costs as much as a launch."""
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH],
        input="\n".join(request.model_dump_json() for request in requests),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ToolError(f"a launch failed: {done.stderr.strip().splitlines()[-1]}", hint="Run it by hand.")
    return [LaunchTimes.model_validate_json(line) for line in done.stdout.splitlines()]
