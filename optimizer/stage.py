"""One stage in one process: `python -P -m optimizer.stage`, the request on standard input.

Each arm imports its own stage, so that a child loads only what it needs.
"""

from __future__ import annotations

import sys

from optimizer.errors import InvalidOptionsError
from optimizer.isolation import Reporter, serve_stage
from optimizer.workspace import StageRequest


def run(request: StageRequest, reporter: Reporter) -> None:
    """Run the stage that the request names; its result file is written last."""
    match request.stage:
        case "admit":
            from optimizer.stages.admit import run as run_stage
        case "probe":
            from optimizer.stages.probe import run as run_stage
        case "convert":
            from optimizer.stages.convert import run as run_stage
        case "simplify":
            from optimizer.stages.simplify import run as run_stage
        case "plan":
            from optimizer.stages.plan import run as run_stage
        case "calibrate":
            from optimizer.stages.calibrate import run as run_stage
        case "apply":
            from optimizer.stages.apply import run as run_stage
        case "evaluate":
            from optimizer.stages.evaluate import run as run_stage
        case "plain":
            from optimizer.stages.plain import run as run_stage
        case "launch_plain":
            from optimizer.stages.plain import run_tf2onnx as run_stage
        case "measure":
            from optimizer.stages.measure import run as run_stage
        case "check":
            from optimizer.stages.check import run as run_stage
        case "package":
            from optimizer.stages.package import run as run_stage
        case "benchmark":
            from optimizer.stages.benchmark import run as run_stage
        case "launch":
            from optimizer.stages.launch import run as run_stage
        case "launch_original":
            from optimizer.stages.launch import run_original as run_stage
        case "launch_operators":
            from optimizer.stages.profile import run_operators as run_stage
        case "launch_islands":
            from optimizer.stages.islands import run as run_stage
        case "profile":
            from optimizer.stages.profile import run as run_stage
        case other:
            raise InvalidOptionsError(f"There is no stage {other}.")
    run_stage(request, reporter)


if __name__ == "__main__":
    sys.exit(serve_stage(run))
