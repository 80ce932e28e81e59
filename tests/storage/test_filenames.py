import pytest

from service.storage.filenames import clean_filename


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("model.keras", "model.keras"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\my model.h5", "my model.h5"),
        ("/abs/saved_model.tar.gz", "saved_model.tar.gz"),
        ("", "model"),
        (".", "model"),
        ("..", "model"),
        ("folder/", "model"),
        (" . ", "model"),
        (".keras", "model.keras"),
        (".tar.gz", "model.tar.gz"),
        ("a\x00b\r\nc\x1b[31m.onnx", "abc[31m.onnx"),
        ("evil\u202egpj.exe", "evilgpj.exe"),  # right-to-left override
        ("\ud800x.onnx", "x.onnx"),  # half a surrogate pair has no bytes
        ("модель.keras", "модель.keras"),
        ("e\u0301.onnx", "\u00e9.onnx"),
    ],
)
def test_a_strangers_file_name_becomes_a_plain_printable_one(sent: str, kept: str) -> None:
    assert clean_filename(sent, "model") == kept


@pytest.mark.parametrize("letter", ["a", "é", "模", "😀"])
def test_a_long_name_is_cut_but_keeps_its_suffix(letter: str) -> None:
    name = clean_filename(letter * 500 + ".tar.gz", "model")
    assert name.endswith(f"{letter}.tar.gz")
    assert len(name) <= 120
    assert len(name.encode()) <= 240


def test_a_clean_name_stays() -> None:
    for sent in ("." * 300, "a." * 300, "x" * 119 + " .b", "-rf", "a/../b.c.d.e", ".." + "y" * 200 + " "):
        once = clean_filename(sent, "model")
        assert clean_filename(once, "model") == once
        assert once not in ("", ".", "..")
