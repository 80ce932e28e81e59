"""What all tests share: a machine lock of their own, and the real models."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import real_inputs

os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # as the convert stage has it, before any test imports TensorFlow


@pytest.fixture(scope="session", autouse=True)
def machine_lock_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Tests take a lock of their own, so that they neither wait for nor hold up real work on this machine."""
    path = tmp_path_factory.mktemp("lock") / "lock"
    before = os.environ.get("ONNXPRESS_LOCK")
    os.environ["ONNXPRESS_LOCK"] = str(path)
    yield path
    if before is None:
        del os.environ["ONNXPRESS_LOCK"]
    else:
        os.environ["ONNXPRESS_LOCK"] = before


@pytest.fixture(scope="session")
def real_model() -> Callable[[str], Path]:
    """Gives the file or folder of a real model by its name in `real_inputs.MODELS`."""
    return real_inputs.real_model


@pytest.fixture(scope="session")
def real_samples() -> Callable[[str, int], real_inputs.Inputs | None]:
    """Gives real inputs of a real model: its name, and how many."""
    return real_inputs.real_inputs
