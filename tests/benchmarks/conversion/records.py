"""What a task leaves behind in a model's folder: a file, so that a bench that was cut off goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from optimizer.options import Options


class Record(Options):
    """A result that is a file."""

    @classmethod
    def read(cls, folder: Path, task: str) -> Self:
        """The record of a task that is done."""
        return cls.model_validate_json((folder / f"{task}.json").read_bytes())

    @classmethod
    def find(cls, folder: Path, task: str) -> Self | None:
        """The record, or None where the task was not done."""
        return cls.read(folder, task) if is_done(folder, task) else None

    def write(self, folder: Path, task: str) -> None:
        """Mark the task done."""
        (folder / f"{task}.json").write_text(self.model_dump_json(indent=1), encoding="utf-8")


class Built(Record):
    """An upload of the zoo."""

    upload: str
    upload_bytes: int
    samples: str | None = None


class Converted(Record):
    """Our conversion, in one process."""

    words: str
    """Parity, or the refusal."""
    is_converted: bool = False
    notes: tuple[str, ...] = ()
    sha256: str = ""
    onnx_bytes: int = 0
    peak_bytes: int = 0


class Plain(Record):
    """Plain tf2onnx's conversion of the same file, and both in turns."""

    words: str = "ok"
    is_converted: bool = False
    plain_cpu_s: float | None = None
    ours_cpu_s: float | None = None


class Failed(Record):
    """A process that ended without a result."""

    exit_code: int


def is_done(folder: Path, task: str) -> bool:
    """Whether a task left its record."""
    return (folder / f"{task}.json").is_file()
