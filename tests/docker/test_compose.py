"""What can be checked of docker/ without an engine; benchmarks/docker_image.py builds and runs an image."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # its types are a package of their own
from serving import serving
from typer.main import get_command

from service.cli import app

DOCKER = Path(__file__).resolve().parents[2] / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES = sorted(COMPOSE["services"])

each_dockerfile = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
each_service = pytest.mark.parametrize("name", SERVICES)


def instructions(path: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile: their words, and what follows with continued lines joined."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [
        (word, rest.strip())
        for word, _, rest in (line.partition(" ") for line in joined.splitlines())
        if word
    ]


def last(path: Path, word: str) -> str:
    """What the last instruction of its kind says: the one that counts."""
    return [rest for found, rest in instructions(path) if found == word][-1]


def dockerfile(name: str) -> Path:
    """The Dockerfile of a service, which must exist where the file says."""
    build: dict[str, str] = COMPOSE["services"][name]["build"]
    return (DOCKER / build["context"] / build["dockerfile"]).resolve(strict=True)


def command(name: str) -> list[str]:
    """What a service starts: the file's command and entry point, else the image's."""
    service, path = COMPOSE["services"][name], dockerfile(name)
    words: list[str] = []
    for key, word in (("entrypoint", "ENTRYPOINT"), ("command", "CMD")):
        said = service.get(key)
        words += (
            json.loads(last(path, word))
            if said is None
            else shlex.split(said)
            if isinstance(said, str)
            else said
        )
    return words


def health_check(path: Path) -> str:
    """The Python that asks the server how it is."""
    python, flag, check = json.loads(last(path, "HEALTHCHECK").partition("CMD ")[2])
    assert (python, flag) == ("python", "-c")
    return str(check)


def test_there_is_an_image_for_each_kind_of_machine() -> None:
    assert [path.name for path in DOCKERFILES] == ["cpu.Dockerfile", "cuda.Dockerfile"]
    assert sorted(dockerfile(name).name for name in SERVICES) == ["cpu.Dockerfile", "cuda.Dockerfile"]


@each_dockerfile
def test_the_image_runs_as_a_user_without_rights(path: Path) -> None:
    uid = last(path, "USER")
    assert int(uid) >= 10000  # by number, and no user of the host
    assert f"useradd --uid {uid} " in path.read_text()
    assert [word for word, _ in instructions(path)].index("USER") < len(instructions(path)) - 1


@each_dockerfile
def test_the_base_is_an_argument_and_fixed(path: Path) -> None:
    first, *_ = instructions(path)
    assert first[0] == "ARG"
    assert re.fullmatch(r"BASE=\S+:\d\S*", first[1])
    assert {rest.split()[0] for word, rest in instructions(path) if word == "FROM"} == {"${BASE}"}
    assert "latest" not in path.read_text()


@each_dockerfile
def test_the_health_check_is_the_one_that_is_tried_below(path: Path) -> None:
    assert health_check(path) == health_check(dockerfile("cpu"))
    assert last(path, "EXPOSE") in health_check(path)


@each_dockerfile
def test_versions_are_pinned(path: Path) -> None:
    lines = path.read_text().replace("\\\n", " ")
    installs = re.findall(r"pip install ([^&;\n]*)", lines)
    assert installs
    for install in installs:
        assert "-c constraints.txt" in install or "--no-deps" in install, install


@each_service
def test_a_service_is_published_on_loopback_only(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["ports"] == [f"127.0.0.1:8000:{last(dockerfile(name), 'EXPOSE')}"]
    assert service.get("network_mode") is None


@each_service
def test_a_service_is_confined(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "ipc", "user"} & set(service)
    assert "--no-sandbox" not in command(name)
    assert not {key for key in service["environment"] if key.endswith("NO_SANDBOX")}


@each_service
def test_what_a_service_writes_to_is_there_for_its_user(name: str) -> None:
    service, path = COMPOSE["services"][name], dockerfile(name)
    mounted = {place for _, place in (volume.split(":") for volume in service["volumes"])}
    made = re.search(r"install --directory --owner onnxpress --group onnxpress (.*)", path.read_text())
    assert made is not None
    assert mounted == set(made[1].split())  # a new volume takes over the owner of the folder in the image
    words = command(name)
    assert words[words.index("--data") + 1] in mounted
    assert str(Path(service["environment"]["ONNXPRESS_LOCK"]).parent) in mounted
    assert {volume.split(":")[0] for volume in service["volumes"]} == set(COMPOSE["volumes"])


@each_service
def test_a_service_sets_only_what_the_command_knows(name: str) -> None:
    program, subcommand, *arguments = command(name)
    assert program == "onnxpress"
    serve = get_command(app).commands[subcommand]  # type: ignore[attr-defined]  # a group
    known = {flag for parameter in serve.params for flag in parameter.opts}
    assert {word for word in arguments if word.startswith("--")} <= known


def test_the_command_of_a_service_serves_is_healthy_and_ends(tmp_path: Path) -> None:
    _, subcommand, *arguments = command("cpu")
    assert subcommand == "serve"
    assert arguments[arguments.index("--host") + 1] == "0.0.0.0"
    arguments[arguments.index("--data") + 1] = str(tmp_path / "data")
    check, port = health_check(dockerfile("cpu")), last(dockerfile("cpu"), "EXPOSE")
    with serving(tmp_path, *arguments) as server:
        assert (tmp_path / "data").is_dir()
        here = check.replace(port, server.address.rpartition(":")[2])
        assert probe(here) == 0
        assert probe(here.replace("/health", "/nothing")) == 1
        assert server.stop() < 10
    assert server.process.returncode == 0
    assert probe(here) == 1


def probe(check: str) -> int:
    """Run a health check, behind a proxy that is not there; returns its status."""
    environment = {**os.environ, "http_proxy": "http://127.0.0.1:9"}
    return subprocess.run([sys.executable, "-c", check], env=environment, timeout=30, check=False).returncode


def test_only_what_is_named_enters_an_image() -> None:
    lines = (DOCKER.parent / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    for path in DOCKERFILES:
        copies = [
            rest.split() for word, rest in instructions(path) if word == "COPY" and "--from" not in rest
        ]
        assert {source for words in copies for source in words[:-1]} == kept


def test_only_one_server_is_started_by_default() -> None:
    default = [name for name in SERVICES if not COMPOSE["services"][name].get("profiles")]
    assert default == ["cpu"]
