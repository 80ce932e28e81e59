"""A driver for stage programs of a few lines, and proof that nothing of them is left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from stage_bench import Bench, alive

from optimizer.errors import InvalidOptionsError
from optimizer.isolation import sandbox_status
from optimizer.isolation.landlock import why_no_landlock
from optimizer.isolation.processes import STAGE_VARIABLE
from optimizer.isolation.sandbox import SANDBOX_VARIABLE


@pytest.fixture(params=["bubblewrap", "landlock"])
def sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each sandbox in turn, by its name."""
    monkeypatch.setenv(SANDBOX_VARIABLE, request.param)
    try:
        kind = sandbox_status().kind
    except InvalidOptionsError as error:
        pytest.skip(error.message)
    if kind != request.param:
        pytest.skip(why_no_landlock())
    return kind


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A driver; when the test ends, neither a process nor a temporary file of its stages may be left."""
    monkeypatch.setenv("ONNXPRESS_LOCK", str(tmp_path / "lock"))
    bench = Bench(tmp_path)
    yield bench
    assert alive(str(bench.workspace)) == []
    assert [p.name for p in bench.workspace.glob(".stage-*")] == []
    assert STAGE_VARIABLE not in os.environ
