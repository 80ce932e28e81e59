"""A real `onnxpress serve`, as a user starts it; shared by the tests of the service."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from small_models import model_of

from optimizer.model import save_model

COMMAND = str(Path(sys.executable).with_name("onnxpress"))
ENDS = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path

    def get(self, path: str) -> Any:
        """The JSON at an address that must answer."""
        return httpx.get(self.address + path, timeout=30).raise_for_status().json()

    def submit(self, model: Path, options: dict[str, Any], **data: Path) -> str:
        """Send a model to /optimize; returns the job's id."""
        return self._send("/optimize", options, model=model, **data)

    def submit_benchmark(self, model: Path, options: dict[str, Any]) -> str:
        """Send a model to /benchmark; returns the job's id."""
        return self._send("/benchmark", options, model=model)

    def _send(self, place: str, options: dict[str, Any], **data: Path) -> str:
        files = {name: (path.name, path.read_bytes()) for name, path in data.items()}
        form = {"options": json.dumps(options)}
        answer = httpx.post(self.address + place, files=files, data=form, timeout=60)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def events(self, job: str, after: int | None = None) -> Iterator[tuple[int, str, Any]]:
        """Follow a job from the event after a number: numbers, kinds and data."""
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        fields: dict[str, str] = {}
        address = f"{self.address}/jobs/{job}/events"
        with httpx.stream("GET", address, headers=headers, timeout=120) as answer:
            assert answer.status_code == 200
            for line in answer.iter_lines():
                if line and not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif not line and "id" in fields:
                    yield int(fields["id"]), fields["event"], json.loads(fields["data"])
                    fields = {}

    def finished(self, job: str) -> Any:
        """Wait until a job has ended; returns all that it says."""
        for _ in self.events(job):
            pass
        return self.get(f"/jobs/{job}")

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 20.0) -> float:
        """Send a signal; returns the seconds until it has ended."""
        begun = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout_s)
        return time.monotonic() - begun


@contextmanager
def serving(folder: Path, *arguments: str, before: tuple[str, ...] = ()) -> Iterator[Server]:
    """Run a server with a folder as its working directory, on a free port, until the end of the block.

    Args:
        folder: Where it works, and writes server.log.
        arguments: After `onnxpress serve`; without `--data`, its data lie in `folder`/onnxpress-data.
        before: A command that runs it, such as strace.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"server-{time.monotonic_ns()}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*before, COMMAND, "serve", *arguments, "--port", "0"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": ""},
            stdout=out,
            stderr=out,
        )
    try:
        yield Server(process, _address(process, log), log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(process: subprocess.Popen[bytes], log: Path, timeout_s: float = 90.0) -> str:
    """Wait until it answers."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        for line in log.read_text().splitlines():
            if '"listening"' in line:
                address = f"http://127.0.0.1:{json.loads(line)['port']}"
                with suppress(httpx.ConnectError):
                    httpx.get(f"{address}/health", timeout=60).raise_for_status()
                    return address
        time.sleep(0.05)
    raise AssertionError(f"The server does not listen:\n{log.read_text()}")


def write_plain_upload(folder: Path) -> None:
    """Write model.onnx, samples.npz and labelled.npz: nothing in it can be quantized, so a job is short."""
    model = model_of("plain (float[batch, 5] x) => (float[batch, 5] y) { a = Tanh (x)  y = Abs (a) }")
    save_model(model, folder / "model.onnx")
    rng = np.random.default_rng(5)
    np.savez(folder / "samples.npz", x=rng.random((64, 5), np.float32))
    labels = rng.integers(0, 5, 300)
    np.savez(folder / "labelled.npz", x=rng.random((300, 5), np.float32), labels=labels)
