"""Every operation keeps what openapi.json says, whatever is sent: all checks of schemathesis."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

SEED = os.environ.get("ONNXPRESS_TEST_SEED", "7")
SECONDS = os.environ.get("ONNXPRESS_TEST_SECONDS", "25")
TESTS = Path(__file__).parents[1]
# Its files' addresses answer with a job's own status; this one says nothing against the request.
FAILURE = {"kind": "UnavailableProviderError", "message": "There is no GPU.", "hint": "Use the CPU."}


def test_no_request_breaks_the_contract(address: str, add_job: Callable[..., str], tmp_path: Path) -> None:
    # Several of each, since some are deleted.
    ended = ("succeeded", "succeeded", "succeeded", "succeeded", "cancelled")
    known = [add_job("failed", problem=FAILURE), *map(add_job, (*ended, "queued", "running"))]
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{address}/openapi.json"]
    options = {"checks": "all", "max-examples": "6", "seed": SEED, "max-time": SECONDS}
    loaded = {"SCHEMATHESIS_HOOKS": "generated_requests", "PYTHONPATH": str(TESTS)}
    done = subprocess.run(
        [*command, "--no-color", *(f"--{name}={value}" for name, value in options.items())],
        env={**os.environ, **loaded, "ONNXPRESS_TEST_JOBS": ",".join(known)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
