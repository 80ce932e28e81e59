"""Time every candidate against the baseline, with the machine to itself."""

from __future__ import annotations

from pathlib import Path

from optimizer.benchmark import (
    SCREENING_LAUNCHES,
    Launch,
    MeasureSettings,
    measure_alone,
    measure_original,
    measure_pair,
)
from optimizer.errors import OptimizerError
from optimizer.isolation import Reporter
from optimizer.model import file_bytes, sha256
from optimizer.quantize.islands import find_islands
from optimizer.results import (
    BaselineName,
    Candidate,
    Conversion,
    FloatIsland,
    Measurement,
    Measurements,
    Probe,
)
from optimizer.stages.evaluate import made_candidates
from optimizer.stages.launch import launcher
from optimizer.stages.profile import profile
from optimizer.steps import QuantizeStatic
from optimizer.workspace import StageRequest, Workspace


def settings_for(request: StageRequest, launches: int = SCREENING_LAUNCHES) -> MeasureSettings:
    """How this job measures: on the user's samples where there are any, since time may hang on them."""
    probe = request.files.read("probe", Probe)
    return MeasureSettings(
        provider=probe.provider,
        threads=probe.threads,
        batch_size=probe.goal.batch_size,
        launches=launches,
        samples=request.calibration or request.evaluation,
    )


def run(request: StageRequest, reporter: Reporter) -> None:
    """Write a row for the upload in its own runtime, the converted file, the baseline and each candidate."""
    files, settings, launch = request.files, settings_for(request), launcher(request)
    candidates = [candidate for candidate in made_candidates(files) if candidate.refused is None]
    reporter.progress(0.0, "baseline")
    baseline, rows = measure_baseline(files, settings, launch)
    reporter.progress(0.1, "the upload in its own runtime")
    originals, notices = measure_upload(request, files.baseline(baseline), settings)
    for index, candidate in enumerate(candidates):
        reporter.progress(0.2 + 0.8 * index / len(candidates), candidate.name)
        path = files.candidate(candidate.name)
        try:
            row = measure_pair(candidate.name, files.baseline(baseline), path, settings, launch)
            islands = measure_islands(request, candidate, settings)
            rows.append(row.model_copy(update={"islands": islands}))
        except OptimizerError as error:  # it costs this candidate: one that was not measured is not chosen
            notices.append(f"{candidate.name} could not be measured: {error.message}")
    measurements = Measurements(baseline=baseline, rows=(*originals, *rows), notices=tuple(notices))
    files.write("measure", measurements)


def measure_islands(
    request: StageRequest, candidate: Candidate, settings: MeasureSettings
) -> tuple[FloatIsland, ...]:
    """What stays float between the integer kernels of static INT8, with its cost; on the CPU alone.

    Raises:
        OptimizerError: If the candidate cannot be profiled.
    """
    is_static = any(isinstance(step, QuantizeStatic) for step in candidate.recipe.steps)
    if not is_static or settings.provider != "cpu":
        return ()
    wanted = settings.request(request.files.candidate(candidate.name))
    return find_islands(profile(request, wanted).kernels)


def measure_baseline(
    files: Workspace, settings: MeasureSettings, launch: Launch
) -> tuple[BaselineName, list[Measurement]]:
    """Take as baseline the simplified file, or the converted one where that is provably faster.

    Returns:
        Which it is, and the rows of the other one and of the baseline.
    """
    if sha256(files.converted) == sha256(files.simplified):
        return "baseline", [measure_alone("baseline", files.simplified, settings, launch)]
    other = measure_pair("input", files.simplified, files.converted, settings, launch)
    if other.ratio is not None and other.ratio.low > 1.0:
        other = measure_pair("simplified", files.converted, files.simplified, settings, launch)
        return "input", [other, measure_alone("baseline", files.converted, settings, launch)]
    return "baseline", [other, measure_alone("baseline", files.simplified, settings, launch)]


def measure_upload(
    request: StageRequest, baseline: Path, settings: MeasureSettings
) -> tuple[list[Measurement], list[str]]:
    """The row of the upload in its own runtime; none for an ONNX upload, which is the row `input`.

    Returns:
        The row, or what kept the upload from running.
    """
    files = request.files
    conversion = files.read("convert", Conversion)
    if conversion.runtime == "ONNX Runtime":
        return [], []
    wanted = settings.request(baseline)
    original, ours = launcher(request, "launch_original"), launcher(request)
    try:
        row = measure_original(
            files.original, conversion.runtime, settings, lambda: original(wanted), lambda: ours(wanted)
        )
    except OptimizerError as error:
        return [], [f"The upload could not be timed in {conversion.runtime}: {error.message}"]
    # Of the upload the user knows the file as it came, and its own runtime is timed on the CPU.
    upload = request.upload or files.original
    known = {"size_bytes": file_bytes(upload), "sha256": sha256(upload)}
    return [row.model_copy(update={"provider": "cpu", **known})], []
