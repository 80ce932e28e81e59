"""A trained model from the package index, which bars name; built by fetching it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import real_inputs

from zoo.model import Inputs, ZooModel


def _fetch(folder: Path) -> Path:
    source = real_inputs.real_model("dgaintel")
    return Path(shutil.copyfile(source, folder / f"dgaintel{source.suffix}"))


def _domains(rng: np.random.Generator, count: int) -> Inputs:
    """Real domains; where the machine has no word list, random characters with padding behind them."""
    real = real_inputs.real_inputs("dgaintel", count)
    if real is not None:
        return real
    lengths = rng.integers(6, 30, (count, 1))
    characters = rng.integers(1, 39, (count, 82))
    return {"domain_input": np.where(np.arange(82) < lengths, characters, 0).astype(np.int32)}


MODELS = (ZooModel("dgaintel", "real", "keras2_h5", _fetch, _domains),)
