"""Whether tests catch an error in a rewrite's formula: `python tests/benchmarks/mutations`.

Each row plants one error into a copy of the package, a wrong number, sign, axis or operator, and runs the
tests of that family on the copy. They have to pass before and to fail then. Words pick the rows whose file or
change contains one of them. All of them take about five minutes on a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.mutations.mutation import Planted
from benchmarks.mutations.planted import MUTATIONS

ROOT = Path(__file__).parents[3]
FOLDER = Path("optimizer", "graph", "rewrites")
_FAILED = 1
"""What pytest exits with where a test failed; anything else is an error of this bench."""


def main() -> None:
    """Plant one error after another; exits 1 where one is not caught."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("words", nargs="*", help="pick rows; none: all")
    parser.add_argument("--jobs", type=int, default=2, help="rows at a time, each in a copy of its own")
    given = parser.parse_args()
    chosen = [each for each in MUTATIONS if not given.words or _is_wanted(each, given.words)]
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(given.jobs) as pool:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(given.jobs):
            copies.put(_copy(Path(temporary, str(number))))

        @contextmanager
        def borrowed() -> Iterator[Path]:
            copy = copies.get()
            try:
                yield copy
            finally:
                copies.put(copy)

        def fails_without(tests: str) -> bool:
            with borrowed() as copy:
                return fails(copy, tests)

        def catches(mutation: Planted) -> bool:
            with borrowed() as copy:
                caught = is_caught(mutation, copy)
            word = "caught" if caught else "MISSED"
            print(f"{word}  {mutation.file}: {mutation.old}  ->  {mutation.new}", flush=True)
            return caught

        families = sorted({each.tests for each in chosen})
        failing = [
            tests for tests, fails in zip(families, pool.map(fails_without, families), strict=True) if fails
        ]
        if failing:
            sys.exit(f"these tests fail without any error planted: {', '.join(failing)}")
        caught = sum(pool.map(catches, chosen))
    print(f"{caught} of {len(chosen)} errors were caught")
    sys.exit(0 if caught == len(chosen) else 1)


def _copy(copy: Path) -> Path:
    """A copy of the package and its tests."""
    for folder in ("optimizer", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", ".cache")
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    shutil.copyfile(ROOT / "pyproject.toml", copy / "pyproject.toml")
    return copy


def _is_wanted(mutation: Planted, words: list[str]) -> bool:
    return any(word in f"{mutation.file} {mutation.old} {mutation.new}" for word in words)


def is_caught(mutation: Planted, copy: Path) -> bool:
    """Whether the tests fail with the error in the copy."""
    path = copy / FOLDER / mutation.file
    right = path.read_text(encoding="utf-8")
    if mutation.old not in right:
        raise LookupError(f"{mutation.file} has no {mutation.old!r} any more")
    path.write_text(right.replace(mutation.old, mutation.new, 1), encoding="utf-8")
    try:
        return fails(copy, mutation.tests)
    finally:
        path.write_text(right, encoding="utf-8")


def fails(copy: Path, *tests: str) -> bool:
    """Whether tests of the copy fail."""
    command = [sys.executable, "-B", "-m", "pytest", "-n", "0", "-x", "-q", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, _FAILED):
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return done.returncode == _FAILED


if __name__ == "__main__":
    main()
