"""No connection leaves the machine: every connect of a server and its stages, through a whole job."""

from __future__ import annotations

import ipaddress
import re
import shutil
import time
from pathlib import Path

import httpx
import pytest
from serving import serving, write_plain_upload

STRACE = shutil.which("strace")
CONNECT = re.compile(r"connect\(\d+, \{sa_family=(AF_\w+)(.*)")
ADDRESS = re.compile(r'inet_(?:addr|pton)\((?:AF_INET6?, )?"([^"]+)"')


def leaves_the_machine(line: str) -> bool:
    """Whether a line of strace shows a connection that is neither to a file nor to loopback."""
    if "connect(" not in line or "resumed>" in line:
        return False
    found = CONNECT.search(line)
    if found is None:
        return True  # nothing we can read: better look at it
    family, rest = found.groups()
    if family in ("AF_UNIX", "AF_UNSPEC"):
        return False
    address = ADDRESS.search(rest)
    return address is None or not ipaddress.ip_address(address[1]).is_loopback


IP4, IP6 = "sa_family=AF_INET, sin_port=htons(9), sin_addr=", "sa_family=AF_INET6, sin6_port=htons(9), "


@pytest.mark.parametrize(
    ("call", "leaves"),
    [
        ('connect(3, {sa_family=AF_UNIX, sun_path="/run/x"}, 110) = 0', False),
        (f'connect(3, {{{IP4}inet_addr("127.0.0.1")}}, 16) = 0', False),
        (f'connect(3, {{{IP6}inet_pton(AF_INET6, "::1", &sin6_addr)}}, 28) = 0', False),
        (f'connect(3, {{{IP4}inet_addr("192.0.2.1")}}, 16) = 0', True),
        (f'connect(3, {{{IP6}inet_pton(AF_INET6, "2001:db8::1", &sin6_addr)}}, 28 <unfinished ...>', True),
        ("connect(3, 0x7f, 16) = -1 EFAULT", True),
        ("+++ exited with 0 +++", False),
    ],
)
def test_a_connection_that_leaves_the_machine_is_recognized(call: str, leaves: bool) -> None:
    assert leaves_the_machine(f"7 {call}") is leaves


@pytest.mark.skipif(STRACE is None, reason="strace is not installed: apt-get install strace")
def test_a_server_connects_to_nothing_through_a_whole_job(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    # -D: the server itself is our child, and strace ends when it does.
    follow = (str(STRACE), "-D", "-f", "--seccomp-bpf", "-e", "trace=connect,execve", "-o", str(trace))
    write_plain_upload(tmp_path)
    data = {"calibration": tmp_path / "samples.npz", "evaluation": tmp_path / "labelled.npz"}
    with serving(tmp_path, before=follow) as server:
        job = server.submit(tmp_path / "model.onnx", {"threads": 1}, **data)
        assert server.finished(job)["status"] == "succeeded"
        for name in ("artifact", "report"):
            assert httpx.get(f"{server.address}/jobs/{job}/{name}").status_code == 200
    # strace pads a short process id with blanks.
    ended = re.compile(rf"^{server.process.pid} +\+\+\+ ", re.MULTILINE)
    deadline = time.monotonic() + 20
    while not ended.search(trace.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ended.search(trace.read_text())
    lines = trace.read_text().splitlines()
    assert sum("optimizer.stage" in line for line in lines) >= 8  # the stages were watched as well
    assert [line for line in lines if leaves_the_machine(line)] == []
