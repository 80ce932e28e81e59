"""Uploads of 1 GiB with curl, against a bare write of the same bytes: `python tests/benchmarks/upload.py`.

Two servers: the real one, whose answer also takes a look at the file in a confined child (it is no model: a
4xx), and one of a few lines that only receives the form. The three take turns, since other work on the
machine changes what its disk can do. Bars: at least 60 % of the bare write, at most 150 MB resident.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

SIZE_BYTES = 1 << 30
ROUNDS = 5
_PIECE_BYTES = 1 << 20

RECEIVER = """
import sys
from pathlib import Path
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from service.storage.blobs import BlobStore
from service.storage.uploads import FormFields, receive_form

blobs = BlobStore(Path(sys.argv[1]))
wanted = FormFields(frozenset({"model"}), frozenset(), 8 << 30)

async def optimize(request: Request) -> PlainTextResponse:
    form = await receive_form(request.stream(), request.headers["content-type"], blobs, wanted)
    digest = form.files["model"].sha256
    form.discard()
    return PlainTextResponse(digest)

async def health(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")

routes = [Route("/optimize", optimize, methods=["POST"]), Route("/health", health)]
uvicorn.run(Starlette(routes=routes), port=int(sys.argv[2]), log_level="warning")
"""


@dataclass
class Server:
    """A server that runs, and what was seen of it."""

    port: int
    process: subprocess.Popen[bytes]
    rates: list[float] = field(default_factory=list)
    """Bytes per second of each upload."""
    slowest_health_s: float = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def peak_bytes(self) -> int:
        """The most memory that it has had resident."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    def is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=10) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError):
            return False

    def upload(self, path: Path) -> tuple[str, str]:
        """Send a file; the answer's status and body."""
        answer = path.with_name("answer")
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(done,))
        watcher.start()
        command = ["curl", "-sS", "--noproxy", "*", "-o", str(answer), "-w", "%{http_code} %{time_total}"]
        command += ["-F", f"model=@{path}", f"{self.url}/optimize"]
        try:
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        finally:
            done.set()
            watcher.join()
        self.rates.append(path.stat().st_size / float(said[1]))
        return said[0], answer.read_text()

    def _watch(self, done: threading.Event) -> None:
        while not done.wait(0.02):
            start = time.perf_counter()
            self.is_healthy()
            self.slowest_health_s = max(self.slowest_health_s, time.perf_counter() - start)


@contextmanager
def _serving(command: Callable[[int], list[str]]) -> Iterator[Server]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with subprocess.Popen(command(port), stderr=subprocess.DEVNULL) as process:
        try:
            server = Server(port, process)
            deadline = time.monotonic() + 60
            while not server.is_healthy():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command(port)[:4]} does not answer")
                time.sleep(0.1)
            yield server
        finally:
            process.terminate()


def _write_bare(source: Path, target: Path) -> tuple[float, str]:
    """Bytes per second of reading, hashing, writing and syncing a file, and its sha256."""
    digest = hashlib.sha256()
    start = time.perf_counter()
    with source.open("rb", buffering=0) as reader, target.open("wb", buffering=0) as writer:
        while piece := reader.read(_PIECE_BYTES):
            digest.update(piece)
            writer.write(piece)
        os.fsync(writer.fileno())
    rate = source.stat().st_size / (time.perf_counter() - start)
    target.unlink()
    return rate, digest.hexdigest()


def _measure(folder: Path) -> bool:
    source = folder / "big.onnx"
    with source.open("wb") as file:
        for _ in range(SIZE_BYTES // _PIECE_BYTES):
            file.write(os.urandom(_PIECE_BYTES))
    receiver = [sys.executable, "-c", RECEIVER, str(folder / "receiver")]
    serve = [str(Path(sys.executable).with_name("onnxpress")), "serve", "--data", str(folder / "served")]
    bare: list[float] = []
    with (
        _serving(lambda port: [*receiver, str(port)]) as small,
        _serving(lambda port: [*serve, "--port", str(port)]) as real,
    ):
        for _ in range(ROUNDS):
            rate, digest = _write_bare(source, folder / "bare")
            bare.append(rate)
            status, answer = small.upload(source)
            assert (status, answer) == ("200", digest), (status, answer)
            status, answer = real.upload(source)
            assert status.startswith("4"), (status, answer)
        left = [path for name in ("receiver", "served") for path in (folder / name / "tmp").iterdir()]
        left += list((folder / "served" / "blobs").glob("*/*"))
        assert not left, left
        print(f"bare write, sha256, fsync   {median(bare) / 1e6:5.0f} MB/s   {_listed(bare)}")
        return all([_report(name, s, bare) for name, s in (("receive_form", small), ("serve", real))])


def _report(name: str, server: Server, bare: list[float]) -> bool:
    fraction = median(rate / other for rate, other in zip(server.rates, bare, strict=True))
    peak = server.peak_bytes / 1e6
    print(
        f"{name:27} {median(server.rates) / 1e6:5.0f} MB/s   {_listed(server.rates)}   "
        f"{fraction:.0%} of bare (median of rounds)   {peak:.0f} MB resident at most   "
        f"/health in {server.slowest_health_s * 1e3:.0f} ms at most"
    )
    return fraction >= 0.6 and peak <= 150


def _listed(rates: list[float]) -> str:
    return " ".join(f"{rate / 1e6:.0f}" for rate in rates)


def main() -> None:
    """Measure and print; exits 1 where a bar is missed."""
    # A folder may be named, since the default may lie in memory.
    folder = Path(tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else None))
    try:
        sys.exit(0 if _measure(folder) else 1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
