"""POST /optimize: a model comes in, a job is accepted."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from optimizer.goal import Goal
from service.api.dependencies import TheJobs
from service.api.examples import accepted_job
from service.api.forms import accept, form_schema, options_of, received, rest_goal
from service.api.problems import responses
from service.api.schemas import JobView, job_view
from service.jobs import Jobs, JobSpec

router = APIRouter(tags=["optimize"])

FILES = {
    "model": "SavedModel (.zip or .tar.gz), .keras, .h5, TFLite, frozen graph or ONNX file.",
    "calibration": "Samples for statistics: .npz, or a zip of such files.",
    "evaluation": "Samples for judging, best with labels.",
    "unlabelled": "More inputs without labels; they calibrate where no calibration file is given.",
}


@router.post(
    "/optimize",
    status_code=202,
    summary="Optimize a model",
    responses=accepted_job() | responses(400, 409, 413, 422, 503, 507),
    openapi_extra=form_schema(FILES, Goal, {"max_accuracy_drop": 0.01}),
)
async def optimize(request: Request, response: Response, jobs: TheJobs) -> JobView:
    """Accept a model, and data if there is any, as a job. The answer's Location is the job.

    Without target_cpu the result is right on any x86 CPU, with or without VNNI.
    """
    async with received(request, jobs, FILES) as form:
        goal = rest_goal(options_of(form))
        notices: tuple[str, ...] = ()
        if {"calibration", "unlabelled"} <= form.files.keys():
            notices = ("The unlabelled samples were not used: the calibration file serves the statistics.",)
        spec = JobSpec(kind="optimize", goal=goal, upload=form.files["model"].filename, notices=notices)
        drafts = {"upload" if name == "model" else name: draft for name, draft in form.files.items()}
        job_id = await accept(jobs, spec, drafts)
    return await run_in_threadpool(accepted, jobs, job_id, response)


def accepted(jobs: Jobs, job_id: str, response: Response) -> JobView:
    """The answer to a request that became a job."""
    response.headers["Location"] = f"/jobs/{job_id}"
    return job_view(jobs.records.need(job_id), jobs.records)
