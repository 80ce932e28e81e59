"""The durable engine: DBOS on the server's own database. The one file that imports it.

The workflow is an interpreter of a plan that is data and never changes shape, so that a job that an older
version of onnxpress began can be ended by a newer one.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer

from service.jobs.plan import Entry
from service.jobs.runner import Runner

# By hand: the default is a hash of the code, and jobs of another version would wait for ever.
_APPLICATION_VERSION = "1"
_EXECUTOR = "server"
_QUEUE = "jobs"
_WORKFLOW = "job"
# It counts the restarts of the server, not the crashes of the job; those the runner counts.
_MAX_RECOVERY_ATTEMPTS = 100
_POLL_S = 0.5


class Engine:
    """Runs the plans of jobs step by step; a step that has ended is never run again.

    One server at a time per database: the caller holds a lock on the data folder.
    """

    def __init__(self, database: sa.Engine, runner: Runner, jobs_at_once: int) -> None:
        self._database = database
        self._jobs_at_once = jobs_at_once
        config: DBOSConfig = {
            "name": "onnxpress",
            "system_database_url": str(database.url),
            "system_database_engine": database,
            "application_version": _APPLICATION_VERSION,
            "executor_id": _EXECUTOR,
            "log_level": "WARNING",
            "serializer": DBOSPortableJSONSerializer(),  # the default would pickle
        }
        DBOS(config=config)
        _register(runner)
        self._client: DBOSClient | None = None

    def launch(self) -> None:
        """Make the engine's tables, take up what an earlier server left, and start to run jobs."""
        DBOS.launch()
        DBOS.register_queue(_QUEUE, worker_concurrency=self._jobs_at_once, polling_interval_sec=_POLL_S)
        self._client = DBOSClient(
            system_database_url=str(self._database.url),
            system_database_engine=self._database,
            serializer=DBOSPortableJSONSerializer(),
        )

    def enqueue(self, connection: Any, job_id: str, plan: tuple[Entry, ...]) -> None:
        """Queue a job inside the caller's transaction (an SQLAlchemy connection or session)."""
        assert self._client is not None, "launch() comes first"
        self._client.enqueue_in_transaction(
            connection,
            {
                "queue_name": _QUEUE,
                "workflow_name": _WORKFLOW,
                "workflow_id": job_id,
                "app_version": _APPLICATION_VERSION,
            },
            job_id,
            [entry.model_dump(mode="json") for entry in plan],
        )

    def cancel(self, job_id: str) -> None:
        """Run no further step of a job."""
        DBOS.cancel_workflow(job_id)

    def forget(self, job_id: str) -> None:
        """Remove what the engine knows of a job that has ended."""
        DBOS.delete_workflow(job_id)

    def has_ended(self, job_id: str) -> bool:
        """Whether the engine will do nothing more for a job."""
        found = DBOS.list_workflows(workflow_ids=[job_id], load_input=False, load_output=False)
        return not found or found[0].status not in ("ENQUEUED", "DELAYED", "PENDING")

    def shutdown(self) -> None:
        """Stop; jobs that have not ended are taken up by the next `launch`. The runner is stopped before."""
        DBOS.destroy(destroy_registry=True)


def _register(runner: Runner) -> None:
    @DBOS.step(name="step")
    def step(job_id: str, entry: dict[str, Any], spent_s: float) -> dict[str, Any]:
        return runner.run_step(job_id, entry, spent_s).model_dump(mode="json")

    @DBOS.workflow(name=_WORKFLOW, max_recovery_attempts=_MAX_RECOVERY_ATTEMPTS)
    def run_job(job_id: str, plan: list[dict[str, Any]]) -> None:
        todo, spent_s = list(plan), 0.0
        while todo:
            done = step(job_id, todo[0], spent_s)
            spent_s += done["seconds"]
            todo = [] if done["ended"] else [*done["then"], *todo[1:]]
