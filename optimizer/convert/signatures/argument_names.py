"""Keeps the inputs' real names beside a SavedModel whose signature cannot hold them.

A signature's arguments are Python names: `input/x`, `x:0` or `class` is none. The arguments get plain names
then, and a file in the SavedModel's folder for extras tells which input each of them is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

_FILE = Path("assets.extra", "input_names.json")


def write_argument_names(folder: Path, names: Mapping[str, str]) -> None:
    """Note which input each argument is: argument to the input's name."""
    path = folder / _FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(names), encoding="utf-8")


def read_argument_names(folder: Path) -> dict[str, str]:
    """Argument to the input's name; empty where the arguments have the inputs' own names."""
    path = folder / _FILE
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
