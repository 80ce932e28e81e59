from collections.abc import Iterator
from pathlib import Path

import pytest
from single_steps import Steps


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Steps]:
    monkeypatch.setenv("ONNXPRESS_LOCK", str(tmp_path / "lock"))  # no other job of this machine is waited for
    found = Steps(tmp_path.resolve())
    yield found
    found.close()
