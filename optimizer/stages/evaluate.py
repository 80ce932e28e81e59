"""Judge every candidate on the selection samples, in one pass over the data."""

from __future__ import annotations

from optimizer.evaluate import judge
from optimizer.isolation import Reporter
from optimizer.results import Candidate, Evaluation, Plan, Probe
from optimizer.runtime import open_session
from optimizer.stages.samples import open_judging
from optimizer.workspace import StageRequest, Workspace


def run(request: StageRequest, reporter: Reporter) -> None:
    """Write what each candidate loses against the baseline, on the provider that will run it."""
    files = request.files
    probe = files.read("probe", Probe)
    judging = open_judging(request, "selection")
    baseline = open_session(files.simplified, probe.provider, probe.threads)

    def report(fraction: float) -> None:
        reporter.progress(fraction, judging.samples)

    sessions = {
        candidate.name: open_session(files.candidate(candidate.name), probe.provider, probe.threads)
        for candidate in made_candidates(files)
        if candidate.refused is None
    }
    files.write(
        "evaluate",
        Evaluation(quality=judge(baseline, sessions, judging, probe.goal, report) if sessions else {}),
    )


def made_candidates(files: Workspace) -> tuple[Candidate, ...]:
    """What the recipes made, refused ones included, in the plan's order."""
    names = (recipe.name for recipe in files.read("plan", Plan).recipes)
    return tuple(files.read(f"candidates/{name}", Candidate) for name in names)
