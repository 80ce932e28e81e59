"""Choose a candidate, then judge it once more: fresh processes, and samples not seen before."""

from __future__ import annotations

from optimizer.benchmark import WINNER_LAUNCHES, MeasureSettings, measure_alone, measure_both
from optimizer.errors import OptimizerError
from optimizer.evaluate import judge
from optimizer.isolation import Reporter
from optimizer.results import (
    Candidate,
    Choice,
    Confirmation,
    Evaluation,
    Measurement,
    Measurements,
    Plan,
    Probe,
    Quality,
)
from optimizer.runtime import open_session
from optimizer.search import BASELINE, choose, confirm, with_original
from optimizer.stages.evaluate import made_candidates
from optimizer.stages.launch import launcher, settings_for
from optimizer.stages.samples import open_judging
from optimizer.workspace import StageRequest


def run(request: StageRequest, reporter: Reporter) -> None:
    """Write the choice, then what the check says of it; the baseline stands where it fails."""
    files = request.files
    probe, plan = files.read("probe", Probe), files.read("plan", Plan)
    rows = {row.model: row for row in files.read("measure", Measurements).rows}
    choice = choose(measured_candidates(request), probe.goal, plan.samples, rows[BASELINE])
    files.write("choice", choice)  # before a check sample is read
    quality: tuple[Quality, ...] = ()
    decisive = [rows[BASELINE]]
    if choice.name != BASELINE:
        reporter.progress(0.1, f"{choice.name}: accuracy")
        quality = check_quality(request, choice)
        reporter.progress(0.3, f"{choice.name}: latency")
        decisive = measure_choice(request, choice, settings_for(request, WINNER_LAUNCHES))
        choice = confirm(choice, quality, decisive[-1], probe.goal, rows[BASELINE])
    reporter.progress(0.8, "other providers")
    elsewhere, notices = other_providers(request, choice)
    others = [row for name, row in rows.items() if name not in ("original", BASELINE)]
    check = Confirmation(
        chosen=with_original(choice, rows.get("original"), others),
        quality=quality,
        measurements=(*decisive, *elsewhere),
        notices=notices,
    )
    files.write("check", check)


def measured_candidates(request: StageRequest) -> tuple[Candidate, ...]:
    """The candidates with their quality and their row."""
    files = request.files
    quality = files.read("evaluate", Evaluation).quality
    rows = {row.model: row for row in files.read("measure", Measurements).rows}
    return tuple(
        candidate.model_copy(
            update={
                "quality": quality.get(candidate.name, ()),
                "measurement": rows.get(candidate.name),
            }
        )
        for candidate in made_candidates(files)
    )


def check_quality(request: StageRequest, choice: Choice) -> tuple[Quality, ...]:
    """The verdict on the check samples; where choice and check share their samples, the one there is."""
    files = request.files
    plan, probe = files.read("plan", Plan), files.read("probe", Probe)
    if plan.samples.same_samples or plan.samples.unverified:
        return files.read("evaluate", Evaluation).quality[choice.name]
    judging = open_judging(request, "check")
    baseline = open_session(files.simplified, probe.provider, probe.threads)
    candidate = open_session(files.candidate(choice.name), probe.provider, probe.threads)
    return judge(baseline, {choice.name: candidate}, judging, probe.goal)[choice.name]


def measure_choice(request: StageRequest, choice: Choice, settings: MeasureSettings) -> list[Measurement]:
    """The baseline and the chosen candidate, in the same fresh processes."""
    files = request.files
    baseline = files.baseline(files.read("measure", Measurements).baseline)
    models = (baseline, files.candidate(choice.name))
    return list(measure_both((BASELINE, choice.name), models, settings, launcher(request)))


def other_providers(request: StageRequest, choice: Choice) -> tuple[list[Measurement], tuple[str, ...]]:
    """Baseline and choice on every other usable provider, and what could not be measured there."""
    files = request.files
    probe = files.read("probe", Probe)
    baseline = files.baseline(files.read("measure", Measurements).baseline)
    rows: list[Measurement] = []
    notices: list[str] = []
    for provider in probe.machine.usable_providers:
        if provider == probe.provider:
            continue
        settings = settings_for(request).model_copy(update={"provider": provider})
        try:
            if choice.name == BASELINE:
                rows.append(measure_alone(BASELINE, baseline, settings, launcher(request)))
            else:
                rows.extend(measure_choice(request, choice, settings))
        except OptimizerError as error:  # the choice is confirmed where it will run
            notices.append(f"{choice.name} could not be measured on {provider}: {error.message}")
    return rows, tuple(notices)
