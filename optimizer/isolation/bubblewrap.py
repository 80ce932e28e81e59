"""bubblewrap's command line: a file system of the rules' paths alone, and namespaces of the stage's own.

Processes, network, System V IPC and host name are the stage's own: it sees no other process in /proc, no
interface but a dead loopback, and neither named nor abstract sockets. When bubblewrap ends, or whoever
started it, the kernel ends every process in there. Paths keep their names, soft links on the way included.
Reference: https://github.com/containers/bubblewrap
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from optimizer.isolation.rules import Access, Rule

_PROBE_TIMEOUT_S = 5.0
_LINKS_LIMIT = 40
_NAMESPACES = ("--unshare-all", "--die-with-parent", "--cap-drop", "ALL")
_SIGNAL_BASE = 128
_STRENGTH: tuple[Access, ...] = ("list", "read", "execute", "device", "write")


@cache
def why_no_bubblewrap() -> str:
    """Why bubblewrap cannot be used here; empty where it can. Tried once, since containers may forbid it."""
    if not sys.platform.startswith("linux"):
        return f"{sys.platform} has no bubblewrap"
    if _program() is None:
        return "bubblewrap (bwrap) is not installed"
    loaders = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache")
    command = bubblewrap_command([Rule(Path(name), "read") for name in loaders], Path("/"))
    try:
        done = subprocess.run(
            [*command, shutil.which("true") or "/bin/true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_TIMEOUT_S,
            env={},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap does not start: {error}"
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return "" if done.returncode == 0 else f"bubblewrap does not work here: {said[-1] if said else '?'}"


def bubblewrap_command(rules: Iterable[Rule], folder: Path) -> tuple[str, ...]:
    """What to put in front of a program's command line.

    Args:
        rules: What it may use; a path that does not exist is passed over.
        folder: Where it starts.

    Returns:
        The command line; inherited descriptors reach the program, and its environment is the caller's.
    """
    links, places = _resolve(rules)
    arguments = ["--proc", "/proc", "--dev", "/dev"]
    # A folder comes before what lies in it, so that no mount hides another.
    for path in sorted(places):
        if not _is_given_by(path, places):
            arguments += [*_mount(places[path], path)]
    for link, target in links.items():
        if not any(parent in places and places[parent] != "list" for parent in link.parents):
            arguments += ["--symlink", target, str(link)]
    # The folders on the way to the mounts are bubblewrap's own, in memory.
    arguments += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", str(folder)]
    return (str(_program()), *_NAMESPACES, *arguments, "--")


def status_of_program(status: int) -> int:
    """bubblewrap's exit code as the program's own; it tells signals as a shell does.

    >>> status_of_program(139), status_of_program(1), status_of_program(-9)
    (-11, 1, -9)
    """
    return _SIGNAL_BASE - status if status > _SIGNAL_BASE else status


def _program() -> str | None:
    # Not by PATH alone, which a user's folder may head: the system's own comes first.
    return shutil.which("bwrap", path="/usr/bin:/usr/local/bin:/bin") or shutil.which("bwrap")


def _resolve(rules: Iterable[Rule]) -> tuple[dict[Path, str], dict[Path, Access]]:
    """The soft links on the way to the rules' paths, and the real paths with their access."""
    links: dict[Path, str] = {}
    places: dict[Path, Access] = {}
    for rule in rules:
        real = _follow(rule.path, links)
        if real is not None:
            places[real] = max(rule.access, places.get(real, rule.access), key=_STRENGTH.index)
    return links, places


def _follow(path: Path, links: dict[Path, str]) -> Path | None:
    """Resolve a path as the kernel would, and note each link on the way; None where it ends nowhere."""
    waiting, here, followed = list(path.parts[:0:-1]), Path("/"), 0
    while waiting:
        part = waiting.pop()
        if part == "..":
            here = here.parent
            continue
        step = here / part
        if not step.is_symlink():
            here = step
            continue
        followed += 1
        if followed > _LINKS_LIMIT:
            return None
        target = os.readlink(step)
        links[step] = target
        parts = Path(target).parts
        if Path(target).is_absolute():
            here, parts = Path("/"), parts[1:]
        waiting.extend(reversed(parts))
    return here if here.exists() else None


def _is_given_by(path: Path, places: dict[Path, Access]) -> bool:
    """Whether a folder above gives a path already, with at least the rights of its own rule."""
    if path == Path("/proc") or (path.is_relative_to("/dev") and places[path] != "device"):
        return True  # those of --proc and --dev
    above = {places[parent] for parent in path.parents if parent in places} - {"list"}
    return "write" in above or (bool(above) and places[path] not in ("write", "device"))


def _mount(access: Access, path: Path) -> Iterator[str]:
    match access:
        case "list":
            yield from ("--dir", str(path))
        case "write":
            yield from ("--bind", str(path), str(path))
        case "device":
            yield from ("--dev-bind", str(path), str(path))
        case _:
            yield from ("--ro-bind", str(path), str(path))
