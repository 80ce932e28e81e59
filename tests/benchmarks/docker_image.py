"""Build an image from its Dockerfile and serve a job with it, without a container engine.

    python tests/benchmarks/docker_image.py [cpu|cuda]

As root on Debian, with `buildah`, `debootstrap`, `iproute2` and `curl`. The base is a plain Debian with its
Python. The container starts what the image says, as the user that the image says, in a network of its own
that has nothing but loopback: so the job also shows that nothing else is needed. It takes some minutes and
10 GB of disk in TMPDIR, prints sizes and times, and exits 1 at the first thing that is not as it should be.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx

ROOT = Path(__file__).resolve().parents[2]
RELEASE = "bookworm"
BASE = "localhost/onnxpress-base:bookworm"
ADDRESS = "http://127.0.0.1:8000"
MAY_BE_WRITTEN = ("data", "run/onnxpress", "tmp", "var/tmp")


class Buildah:
    """buildah with a store of its own, so that it touches nobody else's images."""

    def __init__(self, folder: Path) -> None:
        self.command = ["buildah", "--root", str(folder / "store"), "--runroot", str(folder / "run")]
        self.environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}  # needs no namespaces, no cgroups

    def __call__(self, *arguments: str) -> str:
        """Run one of its commands; returns what that prints."""
        return run(*self.command, *arguments, env=self.environment)

    def close(self) -> None:
        """Remove everything: containers, mounts, images."""
        self("rm", "--all")
        self("rmi", "--all", "--force")


def main() -> None:
    """Base, image, container, job."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))  # else the store would stay
    kind = sys.argv[1] if sys.argv[1:] else "cpu"
    image = f"localhost/onnxpress:{kind}"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        buildah = Buildah(folder)
        try:
            with timed("base"):
                make_base(buildah, folder / "base")
            with timed("build"):
                arguments = ["--build-arg", f"BASE={BASE}", "-f", str(ROOT / f"docker/{kind}.Dockerfile")]
                buildah(
                    "bud", "--format", "docker", "--network", "host", *pip_volumes(), *arguments,
                    "-t", image, str(ROOT),
                )  # fmt: skip
            container = buildah("from", image).strip()
            mount = Path(buildah("mount", container).strip())
            for place in (mount, mount / "opt/onnxpress"):
                size_mb = int(run("du", "-s", "--block-size=1000000", str(place)).split()[0])
                print(f"/{place.relative_to(mount)}: {size_mb} MB", flush=True)
            config = json.loads(buildah("inspect", "--type", "image", image))["Docker"]["config"]
            serve(buildah, container, config, folder)
            check_files(mount, int(config["User"]))
        finally:
            buildah.close()


def make_base(buildah: Buildah, folder: Path) -> None:
    """A small Debian, from the package mirror that this machine uses."""
    targets = ("--format", "$(REPO_URI)", "Created-By: Packages", f"Codename: {RELEASE}")
    mirror = run("apt-get", "indextargets", *targets).splitlines()[0]
    packages = "--include=python3,python3-venv,ca-certificates"
    run("debootstrap", "--variant=minbase", packages, RELEASE, str(folder), mirror)
    container = buildah("from", "scratch").strip()
    buildah("add", container, str(folder), "/")
    buildah("commit", container, BASE)
    buildah("rm", container)


def pip_volumes() -> Iterator[str]:
    """What pip is told on this machine, and the certificates, each at the same place in the build."""
    pip = (sys.executable, "-m", "pip", "config")
    found = re.findall(r"^\s+(/.*), exists: True$", run(*pip, "debug"), re.MULTILINE)
    found += re.findall(r"'(/[^' ]+)'", run(*pip, "list"))
    found.append("/etc/ssl/certs")
    for path in sorted(set(found)):
        if Path(path).exists() and not path.startswith("/etc/ssl/certs/"):
            yield from ("--volume", f"{path}:{path}:ro")


def serve(buildah: Buildah, container: str, config: dict[str, Any], folder: Path) -> None:
    """Start the container as its image says, and send it a job with curl."""
    inside = buildah("run", container, "--", "id", "-u").strip()
    require(inside == config["User"] != "0", f"the image's user is {config['User']}, id -u says {inside}")
    started = time.monotonic()
    with Container(buildah, container, [*config["Entrypoint"], *config["Cmd"]], folder / "log") as server:
        health = server.health()
        print(f"healthy after {time.monotonic() - started:.1f} s: {json.dumps(health)}", flush=True)
        require(health["sandbox"]["kind"] == "landlock", f"the sandbox is {health['sandbox']}")
        check = config["Healthcheck"]["Test"]
        require(check[0] == "CMD", f"the health check is {check}")
        server.run(*check[1:])
        pid, uid = server.process()
        print(f"process {pid} runs as uid {uid}", flush=True)
        require(uid == int(config["User"]), f"the server runs as uid {uid}")
        with timed("job"):
            job = server.job(ROOT / "optimizer/demo/demo.keras")
        require(job["status"] == "succeeded", json.dumps(job["problem"]))
        artifact = folder / "model.onnx"
        server.curl(f"/jobs/{job['id']}/artifact", "--output", str(artifact))
        onnx.checker.check_model(onnx.load(artifact), full_check=True)
        print(f"chosen {job['choice']['name']}, {artifact.stat().st_size} bytes", flush=True)
        with timed("end after SIGTERM"):
            os.kill(pid, signal.SIGTERM)
            server.popen.wait(20)


class Container:
    """A process in a container, with a network of its own."""

    def __init__(self, buildah: Buildah, container: str, command: list[str], log: Path) -> None:
        self._run = [*buildah.command, "run", container, "--"]
        self._environment = buildah.environment
        self._command, self._log = command, log

    def __enter__(self) -> Container:
        alone = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        with self._log.open("wb") as log:
            self.popen = subprocess.Popen(
                [*alone, *self._run, *self._command], env=self._environment, stdout=log, stderr=log
            )
        return self

    def __exit__(self, *_: object) -> None:
        while (found := self._find()) and self.popen.poll() is None:
            os.kill(found[0], signal.SIGKILL)
            time.sleep(0.1)
        self.popen.wait()

    def run(self, *command: str) -> str:
        """Run another command in the container."""
        return run(*self._in_network(), *self._run, *command, env=self._environment)

    def curl(self, path: str, *arguments: str) -> str:
        """Ask the server, from this machine."""
        return run(*self._in_network(), "curl", "-sS", "--fail-with-body", *arguments, ADDRESS + path)

    def health(self) -> Any:
        """Wait until it is healthy; returns what it says."""
        for _ in range(600):
            require(self.popen.poll() is None, f"the server has ended:\n{self._log.read_text()}")
            try:
                return json.loads(self.curl("/health"))
            except subprocess.CalledProcessError:
                time.sleep(0.1)
        sys.exit(f"no answer:\n{self._log.read_text()}")

    def job(self, model: Path) -> Any:
        """Send a model, and wait until its job has ended."""
        answer = self.curl("/optimize", "-D", "-", "-o", "/dev/null", "-F", f"model=@{model}")
        found = re.search(r"^location: (\S+)", answer, re.MULTILINE | re.IGNORECASE)
        require(" 202 " in answer and found is not None, answer)
        assert found
        while (job := json.loads(self.curl(found[1])))["status"] in ("queued", "running"):
            time.sleep(1)
        return job

    def process(self) -> tuple[int, int]:
        """The server's process and its user, as the kernel sees them."""
        found = self._find()
        require(found is not None, "the server's process is not to be found")
        assert found
        return found

    def _find(self) -> tuple[int, int] | None:
        """The first process of this network that runs the image's command."""
        network = os.readlink(f"/proc/{self.popen.pid}/ns/net") if self.popen.poll() is None else ""
        for folder in Path("/proc").glob("[1-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().decode().split("\0")[:-1]
                if words[-len(self._command) + 1 :] != self._command[1:] or "--root" in words:
                    continue
                if os.readlink(folder / "ns/net") == network:
                    status = (folder / "status").read_text()
                    return int(folder.name), int(status.split("Uid:")[1].split()[1])
            except OSError:
                continue
        return None

    def _in_network(self) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.popen.pid}/ns/net"]


def check_files(mount: Path, uid: int) -> None:
    """Nothing was written outside of the places for it, since compose.yaml mounts the root read-only."""
    skipped = [word for place in MAY_BE_WRITTEN for word in ("-path", str(mount / place), "-prune", "-o")]
    found = run("find", str(mount), *skipped, "-uid", str(uid), "-print")
    require(not found, f"the image's user has written:\n{found}")


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long something took."""
    started = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - started:.1f} s", flush=True)


def run(*command: str, env: dict[str, str] | None = None) -> str:
    """Run a command that must succeed; returns what it prints."""
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        raise subprocess.CalledProcessError(
            done.returncode, command, done.stdout[-2000:], done.stderr[-2000:]
        )
    return done.stdout


def require(held: bool, otherwise: str) -> None:
    """End with a reason where something is not as it should be."""
    if not held:
        sys.exit(otherwise)


if __name__ == "__main__":
    main()
