"""A process that has imported TensorFlow and forks a child for each task: an import costs ten seconds.

Each child is as fresh as a process of its own; the seed of Python's hashes is one for all children.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Self

TIMEOUT_S = 1200
_TESTS = str(Path(__file__).parents[2])


class Preloaded:
    """The process that forks; use it as a context."""

    def __init__(self, log: Path, *, hash_seed: int = 0, legacy: bool = False) -> None:
        environment = os.environ | {"PYTHONHASHSEED": str(hash_seed), "TF_CPP_MIN_LOG_LEVEL": "2"}
        environment["TF_USE_LEGACY_KERAS"] = str(int(legacy))
        self._log, self._environment = log, environment
        self._start()

    def _start(self) -> None:
        with self._log.open("a") as file:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )

    def perform(self, task: str, name: str, folder: Path) -> int:
        """Do a task in a child; gives the child's exit code, negative for a signal."""
        if self._process.poll() is not None:  # it died of the task before
            self._start()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([task, name, str(folder)]), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        return int(answer) if answer else self._process.wait() or 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def serve() -> None:
    """Fork a child for each line of the input."""
    sys.path.insert(0, _TESTS)
    import keras  # noqa: F401
    import tensorflow  # noqa: F401
    from benchmarks.conversion import tasks
    from tf2onnx import convert, tfonnx  # noqa: F401

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a child prints goes to the log
    for line in sys.stdin:
        task, name, folder = json.loads(line)
        child = os.fork()
        if child == 0:
            signal.alarm(TIMEOUT_S)
            try:
                tasks.perform(task, name, Path(folder))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


if __name__ == "__main__":
    serve()
