"""One launch: a fresh process that times one model, or two in turns. Started by measuring stages."""

from __future__ import annotations

from collections.abc import Callable

from optimizer.benchmark import (
    SCREENING_LAUNCHES,
    LaunchRequest,
    LaunchTimes,
    MeasureSettings,
    launch_feeds,
    time_blocks,
    time_launch,
)
from optimizer.isolation import Reporter, run_nested
from optimizer.results import Conversion, Probe
from optimizer.stages.samples import made_up_scale
from optimizer.workspace import StageRequest

LAUNCH_TIMEOUT_S = 300.0


def run(request: StageRequest, reporter: Reporter) -> None:
    """Time the ONNX models that the payload names."""
    times = time_launch(LaunchRequest.model_validate(request.payload))
    reporter.result(times.model_dump(mode="json"))


def run_original(request: StageRequest, reporter: Reporter) -> None:
    """Time the upload in its own runtime; the payload says with how many threads, and on what inputs."""
    from optimizer.convert.parity.original import open_original

    launch = LaunchRequest.model_validate(request.payload)
    conversion = request.files.read("convert", Conversion)
    original = open_original(request.files, conversion, launch.threads)
    batch_size, feeds = launch_feeds(conversion.inputs, conversion.outputs, launch)
    [times_ms] = time_blocks([lambda: original.run(feeds)], launch.budget_s)
    times = LaunchTimes.of(times_ms, batch_size=batch_size)
    reporter.result(times.model_dump(mode="json"))


def settings_for(request: StageRequest, launches: int = SCREENING_LAUNCHES) -> MeasureSettings:
    """How this job measures: on the user's samples where there are any, since time may hang on them."""
    probe = request.files.read("probe", Probe)
    return MeasureSettings(
        provider=probe.provider,
        threads=probe.threads,
        batch_size=probe.goal.batch_size,
        launches=launches,
        samples=request.calibration or request.evaluation,
        scale=made_up_scale(request.files),
    )


def launcher(request: StageRequest, stage: str = "launch") -> Callable[[LaunchRequest], LaunchTimes]:
    """A function that runs a launch in a fresh process; `launch_original` times the upload."""

    def launch(wanted: LaunchRequest) -> LaunchTimes:
        nested = request.model_copy(update={"stage": stage, "payload": wanted.model_dump(mode="json")})
        return LaunchTimes.model_validate(run_nested(nested, timeout_s=LAUNCH_TIMEOUT_S))

    return launch
