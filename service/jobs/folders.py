"""Where a job's files lie while it runs. The inputs lie outside the workspace, which a stage may write to."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from optimizer.workspace import Workspace
from service.jobs.records import JobFile
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
            if "/" in role and not role.startswith("measured/"):
                continue  # a result
            place = self.path / "inputs" / role
            if not place.exists():
                place.mkdir(parents=True)
                (place / file.filename).symlink_to(blobs.path(file.sha256).resolve())

    def input(self, role: str) -> Path | None:
        """The input of a role, where the user gave one."""
        return next(iter((self.path / "inputs" / role).glob("*")), None)

    def inputs(self, role: str) -> tuple[Path, ...]:
        """The inputs of a role that may have several, in the order of their names."""
        return tuple(sorted((self.path / "inputs" / role).glob("*/*")))

    def clear_remains(self) -> None:
        """Remove what stages left behind that were killed with the server."""
        for remains in self.path.glob("*/.stage-*"):
            shutil.rmtree(remains, ignore_errors=True)

    def keep_logs(self) -> None:
        """Remove all but the logs of the stages."""
        for folder in self.path.glob("*"):
            for path in folder.glob("*"):
                if path.name == "logs" and path.is_dir() and not path.is_symlink():
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
            if not any(folder.iterdir()):
                folder.rmdir()

    def remove(self) -> None:
        """Remove the whole folder."""
        shutil.rmtree(self.path, ignore_errors=True)
