"""Turns launches into rows of the benchmark. The caller spawns each launch's process."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import Field

from optimizer.benchmark.compare import LaunchTimes, compare, interval_of
from optimizer.benchmark.launch import LaunchRequest
from optimizer.goal import Provider
from optimizer.model import file_bytes, sha256
from optimizer.options import Options
from optimizer.results import Interval, Measurement, Runtime

Launch = Callable[[LaunchRequest], LaunchTimes]
"""Runs `time_launch` in a fresh process."""

SCREENING_LAUNCHES = 3
"""Launches that screen a candidate."""

WINNER_LAUNCHES = 5
"""Launches that confirm the winner, at least."""

HOPELESS_RATIO = 0.95
"""Where the whole interval is below this after two launches, no further launch changes the verdict."""


class MeasureSettings(Options):
    """How a row is measured."""

    provider: Provider = "cpu"
    """Execution provider."""

    threads: int = Field(default=1, ge=1)
    """Threads within one operator."""

    batch_size: int = Field(default=1, ge=1)
    """Items per run, where the model leaves that free."""

    launches: int = Field(default=SCREENING_LAUNCHES, ge=2)
    """Fresh processes per row."""

    samples: Path | None = None
    """Data to run on; left out: generated inputs."""

    scale: int = Field(default=1, ge=1)
    """Times the usual size of generated inputs."""

    def request(self, *models: Path, number: int = 0) -> LaunchRequest:
        """The launch with this number that measures these models."""
        return LaunchRequest(
            models=models,
            provider=self.provider,
            threads=self.threads,
            batch_size=self.batch_size,
            seed=number,
            samples=self.samples,
            scale=self.scale,
        )


def measure_pair(
    name: str, baseline: Path, candidate: Path, settings: MeasureSettings, launch: Launch
) -> Measurement:
    """Measure a candidate against the baseline, both in each launch.

    Stops after two launches where the interval lies below `HOPELESS_RATIO` as a whole: that can only make
    a candidate be called slower, never faster. The ratio is taken turn by turn within each launch. It is no
    quotient of two rows' latencies: launches differ more than turns do.

    Args:
        name: The row's name.
        baseline: ONNX file.
        candidate: ONNX file.
        settings: How to measure.
        launch: Runs `time_launch` in a fresh process.

    Raises:
        OptimizerError: What a launch raised.
    """
    launches = _launch_pair((baseline, candidate), settings, launch)
    return _candidate_row(name, candidate, settings, launches)


def measure_both(
    names: tuple[str, str], models: tuple[Path, Path], settings: MeasureSettings, launch: Launch
) -> tuple[Measurement, Measurement]:
    """The rows of a baseline and of a candidate from the same launches; see `measure_pair`.

    Args:
        names: The rows' names, the baseline's first, as for `models`.
        models: ONNX files.
        settings: How to measure.
        launch: Runs `time_launch` in a fresh process.

    Raises:
        OptimizerError: What a launch raised.
    """
    launches = _launch_pair(models, settings, launch)
    return _row(names[0], models[0], settings, launches), _candidate_row(
        names[1], models[1], settings, launches
    )


def measure_alone(name: str, path: Path, settings: MeasureSettings, launch: Launch) -> Measurement:
    """Measure one model, alone in each launch; the row has no ratio.

    Args:
        name: The row's name.
        path: ONNX file.
        settings: How to measure.
        launch: Runs `time_launch` in a fresh process.

    Raises:
        OptimizerError: What a launch raised.
    """
    launches = [launch(settings.request(path, number=number)) for number in range(settings.launches)]
    return _row(name, path, settings, launches)


def measure_original(
    original: Path,
    runtime: Runtime,
    settings: MeasureSettings,
    launch_original: Callable[[], LaunchTimes],
    launch_baseline: Callable[[], LaunchTimes],
) -> Measurement:
    """Measure the upload in its own runtime; its launches take turns with the baseline's.

    Two runtimes in one process would disturb each other, so each has its own: one log ratio per pair of
    neighbouring launches.

    Args:
        original: The upload's file or folder, for its size and hash.
        runtime: What runs it.
        settings: How to measure.
        launch_original: Times the upload in a fresh process: one model.
        launch_baseline: Times the baseline in a fresh process: one model.

    Raises:
        OptimizerError: What a launch raised.
    """
    originals: list[LaunchTimes] = []
    baselines: list[LaunchTimes] = []
    for turn in range(settings.launches):
        # The order swaps, so that a drift of the machine hits both alike.
        pair = [(originals, launch_original), (baselines, launch_baseline)]
        for launches, launch in pair if turn % 2 == 0 else reversed(pair):
            launches.append(launch())
    log_ratios = [
        math.log(baseline.medians_ms[0] / own.medians_ms[0])
        for baseline, own in zip(baselines, originals, strict=True)
    ]
    row = _row("original", original, settings, originals)
    # The upload's own runtime is measured on the CPU; it has no execution providers.
    return row.model_copy(update={"runtime": runtime, "ratio": interval_of(log_ratios), "placement": {}})


def _launch_pair(models: tuple[Path, Path], settings: MeasureSettings, launch: Launch) -> list[LaunchTimes]:
    launches: list[LaunchTimes] = []
    while len(launches) < settings.launches and not (len(launches) == 2 and _hopeless(compare(launches))):
        launches.append(launch(settings.request(*models, number=len(launches))))
    return launches


def _candidate_row(
    name: str, path: Path, settings: MeasureSettings, launches: Sequence[LaunchTimes]
) -> Measurement:
    row = _row(name, path, settings, launches, place=1)
    return row.model_copy(update={"ratio": compare(launches)})


def _hopeless(ratio: Interval) -> bool:
    return ratio.high < HOPELESS_RATIO


def _row(
    name: str, path: Path, settings: MeasureSettings, launches: Sequence[LaunchTimes], place: int = 0
) -> Measurement:
    """The row of the model at this place of each launch."""
    latency_ms = statistics.median(launch.medians_ms[place] for launch in launches)
    device_ms = [launch.device_ms[place] for launch in launches if launch.device_ms]
    batch_size = launches[0].batch_size
    return Measurement(
        model=name,
        runtime="ONNX Runtime",
        provider=settings.provider,
        batch_size=batch_size,
        threads=settings.threads,
        latency_ms=latency_ms,
        throughput_items_per_s=1e3 * batch_size / latency_ms,
        launches=len(launches),
        device_ms=statistics.median(device_ms) if device_ms else None,
        placement=launches[0].placement[place] if launches[0].placement else {},
        sha256=sha256(path),
        size_bytes=file_bytes(path),
    )
