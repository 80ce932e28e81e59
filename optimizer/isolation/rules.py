"""Which paths a stage may use, and how: the one list that both Landlock and bubblewrap close the rest by."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from optimizer.external_data import data_file
from optimizer.workspace import StageRequest

Access = Literal["list", "read", "execute", "write", "device"]

_SYSTEM_FOLDERS = (
    "/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/share", "/usr/local/lib",
    "/usr/local/lib64", "/usr/local/share", "/usr/local/cuda", "/usr/local/nvidia", "/etc/alternatives",
    "/sys",
)  # fmt: skip
# Of /proc what is no process's, and the first process of the stage: no other's command line or environment.
_SHARED_PROC = (
    "/proc/cpuinfo", "/proc/devices", "/proc/driver", "/proc/filesystems", "/proc/meminfo", "/proc/modules",
    "/proc/self", "/proc/stat", "/proc/sys", "/proc/version",
)  # fmt: skip
# Of /etc only what loaders read: neither accounts, keys nor host names.
_SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/localtime", "/etc/timezone", "/dev/urandom", "/dev/random")
_LOADERS = ("/lib/ld-*.so*", "/lib64/ld-*.so*", "/usr/lib/ld-*.so*", "/usr/lib64/ld-*.so*", "/lib/*/ld-*.so*")
NVIDIA_CONTROL = Path("/dev/nvidiactl")
_SHARED_PREFIXES = (Path("/"), Path("/usr"), Path("/usr/local"))


@dataclass(frozen=True)
class Rule:
    """What may be done with a file, or with all that lies in a folder."""

    path: Path
    access: Access


def sandbox_rules(request: StageRequest, *, own_proc: bool) -> tuple[Rule, ...]:
    """Which paths a stage may use, and how; some may not exist on this machine.

    Args:
        request: What the stage was asked to do.
        own_proc: Its /proc shows its own processes alone.
    """
    interpreter = Path(sys.executable)
    package = Path(__file__).resolve().parents[1]
    # NVIDIA's driver reads the /proc/self of the process that it works in, and a launch is another process.
    proc = ("/proc",) if own_proc or NVIDIA_CONTROL.exists() else _SHARED_PROC
    readable = [Path(name) for name in (*_SYSTEM_FOLDERS, *_SYSTEM_FILES, *proc)]
    readable += [*_interpreter_folders(), package, *_library_folders()]
    models = [*request.readable, *([request.upload] if request.upload else [])]
    readable += [*models, *(data_file(path) for path in models)]
    readable += [path for path in (request.calibration, request.evaluation) if path]
    executable = [interpreter, *(found for name in _LOADERS for found in Path("/").glob(name[1:]))]
    devices = [Path("/dev/null"), Path("/dev/zero"), *Path("/dev").glob("nvidia*")]
    return (
        *(Rule(path, "read") for path in readable),
        *(Rule(path, "execute") for path in executable),
        *(Rule(path, "device") for path in devices),
        Rule(package.parent, "list"),  # the import system lists the folder that it finds a package in
        Rule(request.workspace, "write"),
    )


def _interpreter_folders() -> Iterator[Path]:
    for prefix in {Path(sys.prefix), Path(sys.base_prefix), Path(sys.exec_prefix)}:
        if prefix in _SHARED_PREFIXES:
            yield from (prefix / name for name in ("bin", "lib", "lib64"))
        else:
            yield prefix
    # Those that the interpreter or a .pth file has put on the path; -P keeps the user's folder off it.
    yield from (Path(name) for name in sys.path if name.endswith(("site-packages", "dist-packages")))


def _library_folders() -> Iterator[Path]:
    for name in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep):
        if name and Path(name) not in _SHARED_PREFIXES and Path(name).is_absolute():
            yield Path(name)
