"""Time per operator, in a fresh process. Started by measuring stages."""

from __future__ import annotations

from optimizer.benchmark import LaunchRequest, OperatorTimes, time_operators
from optimizer.isolation import Reporter, run_nested
from optimizer.stages.launch import LAUNCH_TIMEOUT_S
from optimizer.workspace import StageRequest


def run(request: StageRequest, reporter: Reporter) -> None:
    """Profile the ONNX model that the payload names."""
    times = time_operators(LaunchRequest.model_validate(request.payload))
    reporter.result(times.model_dump(mode="json"))


def profile(request: StageRequest, wanted: LaunchRequest) -> OperatorTimes:
    """Time the operators of a model in a fresh process.

    Raises:
        OptimizerError: What that process reported.
    """
    nested = request.model_copy(update={"stage": "profile", "payload": wanted.model_dump(mode="json")})
    return OperatorTimes.model_validate(run_nested(nested, timeout_s=LAUNCH_TIMEOUT_S))
