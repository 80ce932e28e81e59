"""Time every candidate against the baseline, with the machine to itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from optimizer.benchmark import (
    Launch,
    MeasureSettings,
    measure_alone,
    measure_original,
    measure_pair,
)
from optimizer.errors import OptimizerError
from optimizer.isolation import Reporter
from optimizer.model import file_bytes, sha256
from optimizer.results import (
    BaselineName,
    Conversion,
    Interval,
    Measurement,
    Measurements,
    PlainConversion,
    Rewritten,
)
from optimizer.search.explain import explain_speed
from optimizer.stages.evaluate import made_candidates
from optimizer.stages.islands import measure_islands
from optimizer.stages.launch import launcher, settings_for
from optimizer.stages.profile import measure_profile
from optimizer.workspace import StageRequest, Workspace


def run(request: StageRequest, reporter: Reporter) -> None:
    """Write a row for the upload in its own runtime, the converted file, the baseline and each candidate."""
    files, settings, launch = request.files, settings_for(request), launcher(request)
    candidates = [candidate for candidate in made_candidates(files) if candidate.refused is None]
    reporter.progress(0.0, "baseline")
    baseline, rows = measure_baseline(files, settings, launch)
    reporter.progress(0.1, "the upload in its own runtime")
    originals, notices = measure_upload(request, files.baseline(baseline), settings)
    reporter.progress(0.13, "the upload as tf2onnx alone converts it")
    plain, plain_refused = measure_plain(files, files.baseline(baseline), settings, launch)
    notices += [notice for row in plain if (notice := notice_of_plain(row))]
    reporter.progress(0.16, "time per operator")
    rewritten, problems = measure_rewritten(request, rows, settings)
    notices += problems
    for index, candidate in enumerate(candidates):
        reporter.progress(0.2 + 0.8 * index / len(candidates), candidate.name)
        path = files.candidate(candidate.name)
        try:
            row = measure_pair(candidate.name, files.baseline(baseline), path, settings, launch)
            islands = measure_islands(request, candidate, settings)
            rows.append(row.model_copy(update={"islands": islands}))
        except OptimizerError as error:  # it costs this candidate: one that was not measured is not chosen
            notices.append(f"{candidate.name} could not be measured: {error.message}")
    files.write(
        "measure",
        Measurements(
            baseline=baseline,
            rows=(*originals, *plain, *rows),
            plain_refused=plain_refused,
            rewritten=rewritten,
            notices=tuple(notices),
        ),
    )


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


def measure_plain(
    files: Workspace, baseline: Path, settings: MeasureSettings, launch: Launch
) -> tuple[list[Measurement], str]:
    """The row of the upload as tf2onnx alone converts it; none for an ONNX upload, which is the row `input`.

    Returns:
        The row, or why there is none.
    """
    plain = files.read("plain", PlainConversion)
    if not plain.inputs:
        return [], plain.refused
    ours = {spec.name for spec in files.read("convert", Conversion).inputs}
    if set(plain.inputs) != ours and len(ours) > 1:
        settings = settings.model_copy(update={"samples": None})  # which are named like our inputs
    try:
        return [measure_pair("plain", baseline, files.plain, settings, launch)], ""
    except OptimizerError as error:
        return [], f"what tf2onnx alone writes does not run: {error.message.rstrip('.')}"


def notice_of_plain(plain: Measurement) -> str:
    """That tf2onnx alone gives a faster file than the baseline; "" where it does not."""
    if plain.ratio is None or plain.ratio.low <= 1:
        return ""
    return f"What tf2onnx alone gives {explain_speed(plain.ratio)}: here conversion and cleaning cost speed."


def measure_rewritten(
    request: StageRequest, rows: Sequence[Measurement], settings: MeasureSettings
) -> tuple[Rewritten | None, list[str]]:
    """What rewriting gains, from the rows of both files, and where the time goes.

    Returns:
        Both, or what kept the profile from being taken.
    """
    try:
        profile = measure_profile(request, settings)
    except OptimizerError as error:  # the choice does without it
        return None, [f"The time per operator could not be measured: {error.message}"]
    return Rewritten(gain=gain_of(rows), profile=profile), []


def gain_of(rows: Sequence[Measurement]) -> Interval | None:
    """Latency of the converted file / latency of the rewritten one; None where both are one file.

    Args:
        rows: From `measure_baseline`: each ratio is to the baseline, whichever of the two that is.
    """
    ratios = {row.model: row.ratio for row in rows if row.ratio is not None}
    if "simplified" in ratios:
        return ratios["simplified"]
    ratio = ratios.get("input")
    if ratio is None:
        return None
    return Interval(estimate=1 / ratio.estimate, low=1 / ratio.high, high=1 / ratio.low, n=ratio.n)
