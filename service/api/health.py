"""GET /health: whether the server works."""

from __future__ import annotations

from fastapi import APIRouter

from service.api.dependencies import TheJobs
from service.api.examples import HEALTH, shown
from service.api.problems import responses
from service.jobs import Health

router = APIRouter(tags=["health"])


@router.head("/health", include_in_schema=False)
@router.get("/health", summary="How the server is", responses=shown(200, HEALTH) | responses())
def health(jobs: TheJobs) -> Health:
    """Version, sandbox, the queue, and the room on the disk."""
    return jobs.health()
