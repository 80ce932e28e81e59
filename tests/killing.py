"""Kills a server or a stage's process at random moments, again and again, and counts what was lost by it."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from serving import ENDS, Server, serving
from small_models import model_of

from optimizer.model import save_model

OPTIONS = {"threads": 1, "target_cpu": "avx2"}
# An LSTM has one candidate, dynamic INT8: the shortest job that has a candidate at all.
_GRAPH = (
    "agraph (float[n, 4, {width}] x) => (float[n, 4, 1, 16] y) { t = Transpose <perm = [1, 0, 2]> (x) "
    "h, last = LSTM <hidden_size = 16> (t, w, r) y = Transpose <perm = [2, 0, 1, 3]> (h) }"
)
_ENDS_WITHIN_S = 900.0


@dataclass
class Tally:
    """What the kills did."""

    kills: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    broken_uploads: int = 0
    """Requests that a kill left without an answer, or with a refusal."""
    lost: int = 0
    """Accepted jobs that are gone, or ended as anything but succeeded."""
    ran_again: int = 0
    """Steps that were started after they had finished."""
    restarted: int = 0
    """Steps that were started more than once, as they should be when they were killed."""
    candidates: int = 0
    other_hashes: int = 0
    """Candidate files that differ from those of the undisturbed run."""
    left_processes: int = 0
    left_files: int = 0
    integrity: str = ""

    def faults(self) -> list[str]:
        """What must not have happened, in words."""
        counts = {
            "accepted jobs lost": self.lost,
            "finished stages run again": self.ran_again,
            "candidate files of another hash": self.other_hashes,
            "processes left": self.left_processes,
            "temporary files left": self.left_files,
        }
        found = [f"{count} {what}" for what, count in counts.items() if count]
        return found + ([] if self.integrity == "ok" else [f"database: {self.integrity}"])


class Killing:
    """One run: a folder, and a seed for models and delays; what a kill hits hangs on timing as well."""

    def __init__(self, folder: Path, seed: int, models: int = 3) -> None:
        self._folder = folder
        self._chance = random.Random(seed)
        self._models = [_write_model(folder, number) for number in range(models)]
        self._jobs: dict[str, int] = {}
        self._benchmarks: list[str] = []
        self._uploads = ThreadPoolExecutor(max_workers=4)
        self._stack = ExitStack()
        self.tally = Tally()

    def run(self, kills: int, jobs: int) -> Tally:
        """Accept jobs and kill until both counts are reached, let the jobs end, and count."""
        expected = self._undisturbed()
        server = self._start()
        while sum(self.tally.kills.values()) < kills or self.tally.accepted < jobs:
            upload = None
            if self.tally.accepted < jobs and self._active(server) < 4:
                # In a thread of its own, so that kills hit requests too.
                upload = self._uploads.submit(self._submit, server, self._chance.randrange(len(self._models)))
            time.sleep(self._chance.uniform(0.1, 1.5))
            if sum(self.tally.kills.values()) < kills:
                server = self._kill(server)
            if upload is not None:
                upload.result()
        self._uploads.shutdown()
        self._await_ends(server)
        self._count(server, expected)
        self._stack.close()
        self.tally.left_processes = len(stages_on(self._data))
        self.tally.left_files = sum(
            1 for name in ("tmp", "admissions", "jobs") for _ in (self._data / name).glob("*")
        )
        with sqlite3.connect(self._data / "onnxpress.sqlite") as database:
            self.tally.integrity = database.execute("PRAGMA integrity_check").fetchone()[0]
        return self.tally

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _undisturbed(self) -> list[dict[str, str]]:
        with serving(self._folder, "--data", "calm") as server:
            ids = [server.submit(model, OPTIONS) for model in self._models]
            return [_hashes(server.finished(job)) for job in ids]

    def _start(self) -> Server:
        return self._stack.enter_context(serving(self._folder, "--data", "data"))

    def _submit(self, server: Server, number: int) -> None:
        model = self._models[number]
        try:
            if self.tally.accepted % 4 == 3:
                self._benchmarks.append(server.submit_benchmark(model, {"threads": 1, "batch_sizes": [1, 2]}))
            else:
                self._jobs[server.submit(model, OPTIONS)] = number
        except (AssertionError, httpx.TransportError):
            self.tally.broken_uploads += 1  # the server, or its look at the upload, was killed: not accepted
            return
        self.tally.accepted += 1

    def _active(self, server: Server) -> int:
        health = server.get("/health")
        return int(health["queued"]) + int(health["running"])

    def _kill(self, server: Server) -> Server:
        children = [pid for pid in stages_on(self._data) if _parent(pid) == server.process.pid]
        if children and self._chance.random() < 0.5:
            os.kill(self._chance.choice(children), signal.SIGKILL)
            self.tally.kills["child"] += 1
            return server
        server.process.kill()
        server.process.wait()
        self.tally.kills["server"] += 1
        deadline = time.monotonic() + 5
        while stages_on(self._data) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.tally.left_processes += len(stages_on(self._data))
        return self._start()

    def _await_ends(self, server: Server) -> None:
        deadline = time.monotonic() + _ENDS_WITHIN_S
        while self._active(server) and time.monotonic() < deadline:
            time.sleep(0.5)

    def _count(self, server: Server, expected: list[dict[str, str]]) -> None:
        # A job may have been accepted whose answer was lost with the server: it counts as well.
        listed = {job["id"] for job in server.get("/jobs?limit=200")["jobs"]}
        for job in listed | self._jobs.keys() | set(self._benchmarks):
            found = httpx.get(f"{server.address}/jobs/{job}", timeout=30).json()
            if found.get("status") != "succeeded":
                self.tally.lost += 1
                continue
            self._count_steps([(kind, data) for _, kind, data in server.events(job)])
            if job in self._jobs:
                hashes = _hashes(found)
                self.tally.candidates += len(hashes)
                differ = hashes.items() ^ expected[self._jobs[job]].items()
                self.tally.other_hashes += len({name for name, _ in differ})

    def _count_steps(self, events: list[tuple[str, Any]]) -> None:
        finished: set[tuple[Any, ...]] = set()
        started: Counter[tuple[Any, ...]] = Counter()
        for kind, data in events:
            step = (data.get("stage"), data.get("recipe"), data.get("batch_size"))
            if kind == "finished":
                finished.add(step)
            elif kind == "started":
                started[step] += 1
                self.tally.ran_again += step in finished
        assert events[-1][0] in ENDS
        self.tally.restarted += sum(count > 1 for count in started.values())


def stages_on(data: Path) -> list[int]:
    """The processes of stages whose working folder lies in a server's data folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                place = os.readlink(entry / "cwd")
            except OSError:
                continue
            if place.startswith(f"{data}{os.sep}"):
                found.append(int(entry.name))
    return found


def _parent(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rsplit(")", 1)[1].split()[1])


def _hashes(job: Any) -> dict[str, str]:
    return {made["name"]: made["sha256"] or f"refused: {made['refused']}" for made in job["candidates"]}


def _write_model(folder: Path, number: int) -> Path:
    rng = np.random.default_rng(number)
    width = 32 + 16 * number
    weights = {
        "w": rng.standard_normal((1, 64, width)).astype(np.float32),
        "r": rng.standard_normal((1, 64, 16)).astype(np.float32),
    }
    path = folder / f"model{number}.onnx"
    save_model(model_of(_GRAPH.replace("{width}", str(width)), **weights), path)
    return path
