"""Gather everything that was found, and write what the user gets."""

from __future__ import annotations

from optimizer.errors import InvalidOptionsError
from optimizer.isolation import Reporter, SandboxStatus
from optimizer.model import file_bytes, sha256
from optimizer.package import write_package
from optimizer.results import Confirmation, Conversion, Measurements, Outcome, Plan, Probe
from optimizer.rewriting import Simplification
from optimizer.stages.check import measured_candidates
from optimizer.workspace import StageRequest


def run(request: StageRequest, reporter: Reporter) -> None:
    """Write the package folder and the outcome."""
    files = request.files
    if request.upload is None:
        raise InvalidOptionsError("The stage package needs an upload.")
    probe, plan = files.read("probe", Probe), files.read("plan", Plan)
    measurements, confirmation = files.read("measure", Measurements), files.read("check", Confirmation)
    candidates = measured_candidates(request)
    names = {candidate.name for candidate in candidates}
    chosen = confirmation.chosen.name
    artifact = files.candidate(chosen) if chosen in names else files.baseline(measurements.baseline)
    outcome = Outcome(
        upload=request.upload.name,
        upload_sha256=sha256(request.upload),
        upload_bytes=file_bytes(request.upload),
        goal=probe.goal,
        machine=probe.machine,
        conversion=files.read("convert", Conversion),
        simplification=files.read("simplify", Simplification),
        samples=plan.samples,
        rows=tuple(row for row in measurements.rows if row.model not in names),
        plain_refused=measurements.plain_refused,
        rewritten=measurements.rewritten,
        candidates=candidates,
        confirmation=confirmation,
        artifact_sha256=sha256(artifact),
        artifact_bytes=file_bytes(artifact),
        notices=(
            *plan.samples.notices,
            *measurements.notices,
            *confirmation.notices,
            *sandbox_notices(reporter.sandbox),
        ),
    )
    files.write("package", write_package(outcome, files))


def sandbox_notices(status: SandboxStatus | None) -> tuple[str, ...]:
    """What the result must say where nothing confined the stages."""
    if status is None or status.kind != "none":
        return ()
    return (f"The stages ran without a sandbox: {status.reason}.",)
