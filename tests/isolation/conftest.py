"""A driver for stage programs of a few lines, and proof that nothing of them is left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from stage_bench import Bench, alive

from optimizer.isolation.processes import STAGE_VARIABLE


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A driver; when the test ends, neither a process nor a temporary file of its stages may be left."""
    monkeypatch.setenv("ONNXPRESS_LOCK", str(tmp_path / "lock"))
    bench = Bench(tmp_path)
    yield bench
    assert alive(str(bench.workspace)) == []
    assert [p.name for p in bench.workspace.glob(".stage-*")] == []
    assert STAGE_VARIABLE not in os.environ
