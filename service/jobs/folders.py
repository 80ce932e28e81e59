"""Where a job's files lie while it runs. The inputs lie outside the workspace, which a stage may write to."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from optimizer.errors import UnsupportedModelError
from optimizer.external_data import data_file
from optimizer.isolation import remove_folder, unlock_folder
from optimizer.workspace import Workspace
from service.jobs.records import INPUT_ROLES, JobFile
from service.storage.blobs import BlobStore


@dataclass(frozen=True)
class JobFolder:
    """One job's folder: `inputs/ROLE/NAME`, links to blobs under the user's names, and `workspace`."""

    path: Path

    def workspace(self, batch_size: int | None = None) -> Workspace:
        """The workspace of the job's stages; a benchmark has one per batch size."""
        name = "workspace" if batch_size is None else f"batch-{batch_size}"
        folder = self.path / name
        folder.mkdir(parents=True, exist_ok=True)
        return Workspace(folder)

    def link_inputs(self, files: dict[str, JobFile], blobs: BlobStore) -> None:
        """Give each input its user's name: a soft link, since a blob must stay the only name of its file."""
        for role, file in files.items():
            if role not in INPUT_ROLES and not role.startswith("measured/"):
                continue  # a result
            link = self.path / "inputs" / role / file.filename
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(blobs.path(file.sha256).resolve())

    def input(self, role: str) -> Path | None:
        """The input of a role, where the user gave one."""
        return next(iter((self.path / "inputs" / role).glob("*")), None)

    def inputs(self, role: str) -> tuple[Path, ...]:
        """The inputs of a role that may have several, in the order of their names."""
        return tuple(sorted((self.path / "inputs" / role).glob("*/*")))

    def clear_remains(self) -> None:
        """Remove what stages left behind that were killed with the server."""
        unlock_folder(self.path)
        for remains in self.path.glob("*/.stage-*"):
            shutil.rmtree(remains)

    def keep_logs(self) -> None:
        """Remove all but the logs of the stages."""
        if not self.path.exists():
            return
        unlock_folder(self.path)
        for folder in self.path.glob("*"):
            for path in folder.glob("*"):
                if path.name == "logs" and path.is_dir() and not path.is_symlink():
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            if not any(folder.iterdir()):
                folder.rmdir()

    def remove(self) -> None:
        """Remove the whole folder."""
        if self.path.exists():
            remove_folder(self.path)


def sync_folder(folder: Path) -> None:
    """Bring a folder's files to the disk, so that a finished stage outlives a power cut."""
    for parent, _, names in os.walk(folder):
        for path in (parent, *(os.path.join(parent, name) for name in names)):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError:
                continue  # a link, or a file that may not be read: none of ours
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def refuse_two_files(files: Workspace) -> None:
    """Raise UnsupportedModelError for a model of two files: a job keeps and hands out single files."""
    if data_file(files.converted).exists():
        raise UnsupportedModelError(
            "The model's weights take more than 1.5 GiB, too much for one ONNX file, and this server hands "
            "out single files.",
            hint="Run it on the command line: `onnxpress optimize` writes the weights beside the model.",
        )
