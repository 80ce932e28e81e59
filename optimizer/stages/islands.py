"""Measure what stays float between the integer operators of a candidate. Started by the measuring stage."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pydantic import TypeAdapter

from optimizer.benchmark import LaunchRequest, MeasureSettings, time_per_operator
from optimizer.isolation import Reporter, run_nested
from optimizer.quantize.islands import find_islands
from optimizer.results import Candidate
from optimizer.stages.launch import LAUNCH_TIMEOUT_S
from optimizer.stages.profile import with_names
from optimizer.steps import QuantizeStatic
from optimizer.timings import FloatIsland
from optimizer.workspace import StageRequest

_ISLANDS = TypeAdapter(tuple[FloatIsland, ...])


def measure_islands(
    request: StageRequest, candidate: Candidate, settings: MeasureSettings
) -> tuple[FloatIsland, ...]:
    """What stays float between the integer kernels of static INT8, with its cost; on the CPU alone.

    It is measured in a fresh process.

    Raises:
        OptimizerError: If the candidate cannot be profiled.
    """
    is_static = any(isinstance(step, QuantizeStatic) for step in candidate.recipe.steps)
    if not is_static or settings.provider != "cpu":
        return ()
    wanted = settings.request(request.files.candidate(candidate.name))
    nested = request.model_copy(update={"stage": "launch_islands", "payload": wanted.model_dump(mode="json")})
    return _ISLANDS.validate_python(run_nested(nested, timeout_s=LAUNCH_TIMEOUT_S)["islands"])


def run(request: StageRequest, reporter: Reporter) -> None:
    """Be that process: time the model that the payload names, and find its islands."""
    wanted = LaunchRequest.model_validate(request.payload)
    with tempfile.TemporaryDirectory() as folder:
        models = tuple(with_names(path, Path(folder)) for path in wanted.models)
        [times] = time_per_operator(wanted.model_copy(update={"models": models}), connected=True)
    reporter.result({"islands": _ISLANDS.dump_python(find_islands(times.nodes), mode="json")})
