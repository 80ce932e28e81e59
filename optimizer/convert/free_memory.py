"""Frees what only cycles of objects hold: a model of Keras or TensorFlow is one, with all its weights."""

from __future__ import annotations

import gc
from pathlib import Path

from optimizer.model import file_bytes

_LARGE_BYTES = 32 << 20
"""Of smaller models more time is lost than memory won: a pass over TensorFlow's objects takes 0.2 s."""


def free_model(path: Path) -> None:
    """Free the models that were made of a file or folder and that nothing uses any more."""
    if file_bytes(path) > _LARGE_BYTES:
        gc.collect()
