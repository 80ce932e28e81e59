"""Where the stages of one optimization read and write: a folder of files with fixed names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import JsonValue, ValidationError

from optimizer.errors import InvalidOptionsError
from optimizer.goal import Goal
from optimizer.model import first_line, write_atomically
from optimizer.options import Options
from optimizer.results import BaselineName
from optimizer.steps import Recipe

Result = TypeVar("Result", bound=Options)


@dataclass(frozen=True)
class Workspace:
    """The files of one optimization. A result file is written last, so it marks its stage finished."""

    folder: Path

    @property
    def converted(self) -> Path:
        """The upload as ONNX, as the converter wrote it."""
        return self.folder / "converted.onnx"

    @property
    def original(self) -> Path:
        """The upload in a form that its own runtime loads fast: a SavedModel folder, or a .tflite file."""
        return self.folder / "original"

    @property
    def simplified(self) -> Path:
        """The upload as ONNX after the lossless steps."""
        return self.folder / "simplified.onnx"

    @property
    def plain(self) -> Path:
        """The upload as tf2onnx alone converts it; not there where it fails, nor for an ONNX upload."""
        return self.folder / "plain.onnx"

    @property
    def ranges(self) -> Path:
        """Activation ranges from the calibration samples (npz)."""
        return self.folder / "ranges.npz"

    @property
    def package(self) -> Path:
        """The folder that the user gets."""
        return self.folder / "package"

    def baseline(self, name: BaselineName) -> Path:
        """The file that stands for the baseline."""
        return self.converted if name == "input" else self.simplified

    def candidate(self, name: str) -> Path:
        """The file of one candidate."""
        return self.folder / "candidates" / f"{name}.onnx"

    def result(self, name: str) -> Path:
        """The result file of a stage."""
        return self.folder / f"{name}.json"

    def write(self, name: str, result: Options) -> None:
        """Write a stage's result; it appears whole or not at all."""
        path = self.result(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, result.model_dump_json(indent=1).encode())

    def read(self, name: str, kind: type[Result]) -> Result:
        """Read what a stage wrote.

        Raises:
            InvalidOptionsError: If the file is damaged, or of another version.
        """
        try:
            return kind.model_validate_json(self.result(name).read_bytes())
        except (OSError, ValidationError) as error:
            raise InvalidOptionsError(
                f"The workspace's result {name} cannot be read: {first_line(error)}.",
                hint="Name a new folder to work in.",
            ) from error


class StageRequest(Options):
    """What a stage's child process is asked to do; sent as one JSON document."""

    stage: str
    """A name that `optimizer.stage` knows."""
    workspace: Path
    upload: Path | None = None
    calibration: Path | None = None
    evaluation: Path | None = None
    goal: Goal = Goal()
    recipe: Recipe | None = None
    """For apply."""
    readable: tuple[Path, ...] = ()
    """Further files outside the workspace that the stage may read: the models that `benchmark` times."""
    payload: dict[str, JsonValue] = {}
    """What a nested launch is told beyond this."""

    @property
    def files(self) -> Workspace:
        """The workspace with its file names."""
        return Workspace(self.workspace)
