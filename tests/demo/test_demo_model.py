"""The committed model and the script that made it; TensorFlow runs in a process of its own."""

import json
import subprocess
import sys
import zipfile
from importlib.resources import as_file, files
from pathlib import Path

import h5py
import pytest

JUDGE = """
import json, sys
import keras, numpy as np
from optimizer.demo.digits import load_digits
from optimizer.demo.train import build_model

model = keras.models.load_model(sys.argv[1])
digits = load_digits().evaluation
answers = model.predict(digits.images, batch_size=250, verbose=0)
macs = 0
for layer in model.layers:
    if isinstance(layer, keras.layers.Conv2D):
        macs += layer.output.shape[1] * layer.output.shape[2] * int(np.prod(layer.kernel.shape))
print(json.dumps({
    "accuracy": float(np.mean(answers.argmax(axis=1) == digits.labels)),
    "sums": [float(answers.sum(axis=1).min()), float(answers.sum(axis=1).max())],
    "input": model.input.name, "output": model.layers[-1].name,
    "macs": macs, "compiled": model.compiled,
    "as_written": model.count_params() == build_model().count_params(),
}))
"""

TRAIN = """
import json, sys
from pathlib import Path
from optimizer.demo import train
from optimizer.demo.digits import Digits, Split, load_digits

whole = load_digits()
few = Split(whole.train.images[:256], whole.train.labels[:256])
judges = Split(whole.evaluation.images[:200], whole.evaluation.labels[:200])
train.load_digits = lambda: Digits(few, whole.calibration, judges)
train.EPOCHS = 2
progress = []
accuracy = train.train_demo(Path(sys.argv[1]), progress.append)
print(json.dumps({"accuracy": accuracy, "progress": progress}))
"""


def run(program: str, path: Path) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


def holds_optimizer_state(path: Path, folder: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        archive.extract("model.weights.h5", folder)
        compiled = bool(json.loads(archive.read("config.json")).get("compile_config"))
    with h5py.File(folder / "model.weights.h5") as weights:
        return compiled or "optimizer" in weights


@pytest.fixture
def committed(tmp_path: Path) -> Path:
    target = tmp_path / "demo.keras"
    with as_file(files("optimizer.demo") / "demo.keras") as path:
        target.write_bytes(path.read_bytes())
    return target


def test_the_committed_model_is_small_and_holds_no_optimizer_state(committed: Path, tmp_path: Path) -> None:
    assert committed.stat().st_size <= 1_500_000
    assert not holds_optimizer_state(committed, tmp_path)


def test_the_committed_model_is_what_the_script_builds_and_knows_its_digits(committed: Path) -> None:
    found = run(JUDGE, committed)
    accuracy, macs, sums = found["accuracy"], found["macs"], found["sums"]
    assert isinstance(accuracy, float)
    assert accuracy >= 0.97
    assert isinstance(macs, int)
    assert macs >= 20_000_000
    assert sums == pytest.approx([1.0, 1.0], abs=1e-5)
    assert (found["input"], found["output"], found["compiled"]) == ("image", "digit", False)
    assert found["as_written"]


def test_training_reports_its_progress_and_leaves_one_stripped_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "trained.keras"
    found = run(TRAIN, path)
    progress = found["progress"]
    assert isinstance(progress, list)
    assert progress == pytest.approx([done / 8 for done in range(1, 9)])
    assert [entry.name for entry in path.parent.iterdir()] == ["trained.keras"]
    assert not holds_optimizer_state(path, tmp_path)
    assert isinstance(found["accuracy"], float)
    assert 0.0 <= found["accuracy"] <= 1.0
