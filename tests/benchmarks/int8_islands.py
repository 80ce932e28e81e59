"""Static INT8 of a CNN with BatchNormalization behind ReLU: `python tests/benchmarks/int8_islands.py`.

    relu(conv) -> bn -> relu(conv) -> bn -> max pool,  with 32, 64 and 128 channels; then two dense layers

No BatchNormalization can be folded backwards through the ReLU. Digits over photographs (as MNIST-M is made):
image = |patch - digit|, by channel. The network is trained here, with three seeds; the medians count:

    ratio >= 2.0 and drop <= 0.5 point, and no float operator between integer kernels that costs over 2 %

Models and samples are kept in `--folder`, and not made again.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from optimizer import Data, Goal, Outcome, Run, optimize
from optimizer.benchmark import describe_machine
from optimizer.demo.digits import Split, load_digits
from optimizer.results import Interval
from optimizer.timings import FloatIsland

if TYPE_CHECKING:
    import keras

SEEDS = (0, 1, 2)
"""Of the weights, the order and the backgrounds of the training images."""

RATIO, DROP, SHARE = 2.0, 0.005, 0.02
GOAL = Goal(threads=1, max_accuracy_drop=DROP, metric="top-1", techniques=("simplification", "quantization"))

SIDE = 32
CHANNELS = (32, 64, 128)
EPOCHS, BATCH_SIZE, LEARNING_RATE = 8, 64, 2e-3
PHOTOGRAPHS = ("china.jpg", "flower.jpg")
TRAINING_COLUMNS = 400
"""Of 640: backgrounds of training images come from the left of a photograph, the others from the rest."""


@dataclass(frozen=True)
class Row:
    """What one seed gave."""

    seed: int
    choice: str
    accuracy: float
    ratio: Interval
    drop: Interval
    islands: tuple[FloatIsland, ...]

    @property
    def share(self) -> float:
        """Of the most expensive island."""
        return max((island.share for island in self.islands), default=0.0)


def main() -> int:
    """Train, optimize and print a row for each seed, then the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, help="keeps models and samples")
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS)
    given = parser.parse_args()
    machine = describe_machine()
    print(f"{machine.cpu}, {' '.join(machine.isa)}, one thread, batch 1\n\n{HEADER}", flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for seed in given.seeds:
            outcome = optimize(*prepare(folder, seed), GOAL, Run())
            rows.append(judge(seed, outcome))
            print(words(rows[-1]), flush=True)
    ratio = statistics.median(row.ratio.estimate for row in rows)
    drop = statistics.median(row.drop.estimate for row in rows)
    share = max(row.share for row in rows)  # no median: it holds for every network
    met = ratio >= RATIO and drop <= DROP and share <= SHARE
    print(
        f"\nmedians: ratio {ratio:.2f}, drop {100 * drop:.2f} points; most expensive island "
        f"{100 * share:.1f} %: {'met' if met else 'NOT MET'}"
    )
    return 0 if met else 1


HEADER = (
    "| seed | choice | top-1 of FP32 | ratio | drop, points | float between integer operators |\n"
    "|---|---|---|---|---|---|"
)


def judge(seed: int, outcome: Outcome) -> Row:
    """The row of the choice, from the final check."""
    choice = outcome.confirmation.chosen
    if not choice.name.startswith("static_int8"):
        sys.exit(f"seed {seed}: {choice.name} was chosen. {' '.join(choice.reasons)} {choice.rejected}")
    (quality,), (_, measured) = outcome.confirmation.quality, outcome.confirmation.measurements[:2]
    assert measured.ratio is not None
    assert quality.baseline_score is not None
    [profiled] = [one.measurement for one in outcome.candidates if one.name == choice.name]
    assert profiled is not None
    return Row(seed, choice.name, quality.baseline_score, measured.ratio, quality.loss, profiled.islands)


def words(row: Row) -> str:
    """One line of the table."""
    drop = f"{100 * row.drop.estimate:.2f} [{100 * row.drop.low:.2f}, {100 * row.drop.high:.2f}]"
    ratio = f"{row.ratio.estimate:.2f} [{row.ratio.low:.2f}, {row.ratio.high:.2f}]"
    islands = "; ".join(
        f"{', '.join(island.operators)}: {100 * island.share:.1f} %" for island in row.islands
    )
    cells = (row.choice, f"{100 * row.accuracy:.2f}", ratio, f"{drop}, n={row.drop.n}", islands or "none")
    return f"| {row.seed} | {' | '.join(cells)} |"


def prepare(folder: Path, seed: int) -> tuple[Path, Path, Data]:
    """The trained model of a seed, an output folder that is not there yet, and the data."""
    model = folder / f"cnn-{seed}.keras"
    data = Data(calibration=folder / "calibration.npz", evaluation=folder / "evaluation.npz")
    digits = load_digits()
    held_back = photographs()[:, :, TRAINING_COLUMNS:]
    for number, (path, split) in enumerate(
        ((data.calibration, digits.calibration), (data.evaluation, digits.evaluation))
    ):
        assert path is not None
        images = over_photographs(split, held_back, np.random.default_rng(number))
        np.savez(path, image=images, labels=split.labels)
    if not model.is_file():
        train(model, digits.train, seed)
    return model, Path(tempfile.mkdtemp(dir=folder, prefix=f"out-{seed}-")), data


def photographs() -> NDArray[np.float32]:
    """The photographs of scikit-learn: float32[2, 427, 640, 3], 0 to 1."""
    import tensorflow as tf

    images = [(files("sklearn") / f"datasets/images/{name}").read_bytes() for name in PHOTOGRAPHS]
    pixels = np.stack([tf.io.decode_jpeg(image).numpy() for image in images])
    return np.asarray(pixels, np.float32) / np.float32(255)


def over_photographs(
    split: Split, photos: NDArray[np.float32], random: np.random.Generator
) -> NDArray[np.float32]:
    """Each digit at a random place of a random patch: float32[n, 32, 32, 3]."""
    count, height, width = len(split.labels), *photos.shape[1:3]
    images = np.empty((count, SIDE, SIDE, 3), np.float32)
    for image, digit in zip(images, split.images, strict=True):
        photo = random.integers(len(photos))
        top, left = random.integers(0, (height - SIDE, width - SIDE))
        canvas = np.zeros((SIDE, SIDE, 1), np.float32)
        down, right = random.integers(0, SIDE - 28 + 1, 2)
        canvas[down : down + 28, right : right + 28] = digit
        image[:] = np.abs(photos[photo, top : top + SIDE, left : left + SIDE] - canvas)
    return images


def train(path: Path, split: Split, seed: int) -> None:
    """Train a network; every epoch has other backgrounds."""
    import keras

    keras.utils.set_random_seed(seed)
    random = np.random.default_rng(seed)
    photos = photographs()[:, :, :TRAINING_COLUMNS]
    steps = EPOCHS * -(-len(split.labels) // BATCH_SIZE)
    model = build_model()
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)),
        loss="sparse_categorical_crossentropy",
    )
    for _ in range(EPOCHS):
        images = over_photographs(split, photos, random)
        model.fit(images, split.labels, batch_size=BATCH_SIZE, verbose=0)
    model.save(path)


def build_model() -> keras.Model:
    """The untrained network: float32[n, 32, 32, 3] to the probabilities float32[n, 10]."""
    import keras
    from keras import layers

    image = x = keras.Input((SIDE, SIDE, 3), name="image")
    for channels in CHANNELS:
        for _ in range(2):
            x = layers.Conv2D(channels, 3, padding="same", activation="relu")(x)
            x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    x = layers.Dropout(0.3)(layers.Dense(128, activation="relu")(x))
    x = layers.Dense(10, activation="softmax", name="digit")(x)
    return keras.Model(image, x, name="cnn")


if __name__ == "__main__":
    sys.exit(main())
