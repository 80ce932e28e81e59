"""Real inputs of the real models, prepared as the models' own packages prepare them; numpy alone."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_WORDS = Path("/usr/share/dict/words")


def piano_windows(count: int) -> NDArray[np.float32]:
    """Two seconds of synthesized notes each, as basic-pitch cuts audio: float32[count, 43844, 1] in [-1, 1].

    22,050 samples a second. One to four notes a window, each with six partials, an attack and a decay, over a
    quiet noise.
    """
    random = np.random.default_rng(22050)
    time = np.arange(43844) / 22050  # [samples] s
    windows = np.empty((count, time.size, 1), np.float32)
    for window in windows:
        sound = random.normal(0.0, 0.002, time.size)
        for _ in range(random.integers(1, 5)):
            frequency = 440.0 * 2.0 ** ((random.integers(33, 89) - 69) / 12)  # MIDI 33 to 88: A1 to E6
            since = time - random.uniform(0.0, 1.5)
            envelope = np.where(
                since > 0, np.minimum(since / 0.01, 1.0) * np.exp(-np.maximum(since, 0) * 2.5), 0
            )
            partials = sum(np.sin(2 * np.pi * frequency * k * since) / k for k in range(1, 7))
            sound += random.uniform(0.1, 0.3) * envelope * partials
        window[:, 0] = np.clip(sound, -1.0, 1.0)
    return windows


def faces(data: Path, count: int) -> NDArray[np.float32]:
    """Faces of scikit-image's lfw_subset as fer prepares them: float32[count, 64, 64, 1] in [-1, 1].

    `data` is lfw_subset.npy, which has 100. fer resizes 8-bit grey faces to 64 x 64 bilinearly, then takes
    (x / 255 - 0.5) * 2.
    """
    if count > 100:
        raise ValueError("There are 100 faces.")
    grey = np.load(data)[:count]  # [count, 25, 25] in [0, 1]; the first 100 are faces
    pixels = np.round(_resize(np.round(grey * 255.0), 64))
    return np.ascontiguousarray(((pixels / 255.0 - 0.5) * 2.0)[..., None], np.float32)


def _resize(images: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Bilinear, pixel centres at half integers (as OpenCV's INTER_LINEAR): [n, size, size]."""
    old = images.shape[1]
    place = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
    low = np.minimum(np.floor(place).astype(int), old - 2)
    weight = place - low
    rows = images[:, low, :] * (1 - weight)[:, None] + images[:, low + 1, :] * weight[:, None]
    return np.asarray(rows[:, :, low] * (1 - weight) + rows[:, :, low + 1] * weight)


def domains(count: int) -> NDArray[np.int32] | None:
    """Domain names as dgaintel encodes them: int32[count, 82]; words (even rows) and random strings (odd)."""
    if not _WORDS.is_file():
        return None
    random = np.random.default_rng(82)
    listed = _WORDS.read_text(encoding="utf-8").split()
    words = sorted({word.lower() for word in listed if word.isascii() and word.isalpha() and len(word) > 3})
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz0123456789"))
    codes = {letter: index for index, letter in enumerate("-.0123456789_abcdefghijklmnopqrstuvwxyz")}
    encoded = np.zeros((count, 82), np.int32)
    for row in range(count):
        is_random = row % 2 == 1
        name = "".join(random.choice(letters, random.integers(8, 25))) if is_random else random.choice(words)
        for column, letter in enumerate(f"{name}.com"):
            encoded[row, column] = codes[letter]
    return encoded


def domain_labels(count: int) -> NDArray[np.int64]:
    """What `domains` holds: 1 for a random string, 0 for a word: int64[count]."""
    return np.arange(count) % 2


def file_features(count: int) -> NDArray[np.float32]:
    """First, middle and last 512 bytes of files of this machine, as magika takes them: float32[count, 1536].

    No two rows are equal.
    """
    files = _files_of_this_machine()
    rows: dict[bytes, NDArray[np.float32]] = {}
    for index in np.random.default_rng(1536).permutation(len(files)):
        features = _features(files[index])
        rows.setdefault(features.tobytes(), features)
        if len(rows) == count:
            return np.stack(list(rows.values()))
    raise ValueError(f"This machine has {len(rows)} different files.")


def _files_of_this_machine() -> list[Path]:
    """Files of the Python installation and of the packages beside it: text, libraries, tables, images."""
    roots = sorted({sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")})
    found = {
        Path(parent, name)
        for root in roots
        for parent, _, names in os.walk(root)
        for name in names
        if not parent.endswith("__pycache__")  # these come and go
    }
    return sorted(path for path in found if path.is_file() and path.stat().st_size >= 16)


def _features(path: Path) -> NDArray[np.float32]:
    """As magika 0.5 does: blocks of 4,096 bytes at both ends, without the space around them; 256 pads."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size < 2 * 4096 + 512:
            first = middle = last = file.read().strip()
        else:
            first = file.read(4096).lstrip()
            file.seek(size - 4096)
            last = file.read().rstrip()
            start, end = 4096 - len(first), 4096 - len(last)
            file.seek(start + (size - start - end - 512) // 2)
            middle = file.read(512)
    middle = middle[max(len(middle) - 512, 0) // 2 :][:512]
    left = (512 - len(middle)) // 2
    features = np.full((3, 512), 256.0, np.float32)
    for row, place, part in (
        (0, 0, first[:512]),
        (1, left, middle),
        (2, 512 - len(last[-512:]), last[-512:]),
    ):
        features[row, place : place + len(part)] = list(part)
    return features.reshape(-1)
