"""A model with its samples, and the command as a user runs it; shared by the end-to-end tests."""

from __future__ import annotations

import base64
import json
import marshal
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Upload:
    """A model file and its samples."""

    model: Path
    calibration: Path
    evaluation: Path

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command line that optimizes it."""
        data = ("--calibration", str(self.calibration), "--evaluation", str(self.evaluation))
        return ("optimize", str(self.model), *data, "--threads", "1")


@dataclass(frozen=True)
class Command:
    """The installed command, with temporary files in a folder of the test's own."""

    folder: Path

    @property
    def temporary(self) -> Path:
        """Where its temporary files go; empty when it has ended."""
        return self.folder / "tmp"

    def start(self, *arguments: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        """Start it."""
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("onnxpress")), *arguments],
            cwd=cwd or self.folder,
            env={**os.environ, "TMPDIR": str(self.temporary), "PYTHONPATH": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        process = self.start(*arguments, cwd=cwd)
        try:
            out, err = process.communicate(timeout=300)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def stage_processes() -> dict[int, tuple[str, str]]:
    """The living stage processes of this machine: pid to (workspace, stage), by their log."""
    found: dict[int, tuple[str, str]] = {}
    for entry in Path("/proc").iterdir():
        try:
            # bubblewrap has the stage's command line behind its own.
            command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            if b"optimizer.stage" in command and not command.split(b"\0")[0].endswith(b"bwrap"):
                log = Path(os.readlink(entry / "fd" / "1"))
                found[int(entry.name)] = (str(log.parents[1]), log.stem)
        except (OSError, IndexError):
            continue  # it ended meanwhile
    return found


def lambda_h5(folder: Path) -> Path:
    """A Keras 2 file with a Lambda layer whose code would write `folder`/marker when it is loaded."""
    import h5py

    code = compile(f"open({str(folder / 'marker')!r}, 'w').close()", "hostile", "exec")
    packed = [base64.b64encode(marshal.dumps(code)).decode(), None, None]
    config = {"name": "sneaky", "function": packed, "function_type": "lambda", "batch_input_shape": [None, 4]}
    layers = [{"class_name": "Lambda", "config": config}]
    path = folder / "lambda.h5"
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "2.15.0"
        file.attrs["model_config"] = json.dumps(
            {"class_name": "Sequential", "config": {"name": "model", "layers": layers}}
        )
    return path
