"""A SavedModel that is in order, for tests that put something wrong into it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from savedmodels import save


@pytest.fixture(scope="session")
def plain_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Saved once; `plain` is a copy."""
    import tensorflow as tf

    return save(tmp_path_factory.mktemp("plain") / "model", lambda x: tf.reduce_sum(x, 1))


@pytest.fixture
def plain(plain_source: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(plain_source, tmp_path / "plain"))
