"""What a stage can reach: its workspace, what it was asked to read, and nothing else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from stage_bench import Bench, program

from optimizer.isolation import sandbox_status
from optimizer.isolation.sandbox import SandboxStatus

pytestmark = pytest.mark.usefixtures("sandbox")
# Landlock forbids a path; in bubblewrap it does not exist.
REFUSED = {"PermissionError", "FileNotFoundError"}

TRY = """
attempts = {attempts!r}
for attempt in attempts:
    try:
        exec(attempt, {{"request": request}})
    except Exception as error:
        reporter.progress(None, f"{{type(error).__name__}} from {{attempt}}")
    else:
        reporter.progress(None, f"done {{attempt}}")
"""


def outcomes(bench: Bench, *attempts: str, **fields: object) -> list[str]:
    """What each attempt inside one stage ends in: "done", or the name of its error."""
    bench.run(TRY.format(attempts=attempts), None, **fields)
    assert len(bench.messages) == len(attempts), bench.messages
    return [message.split()[0] for message in bench.messages]


def test_files_outside_cannot_be_read(bench: Bench, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("key")
    attempts = (
        f"open({str(secret)!r})",
        f"import os; os.listdir({str(tmp_path)!r})",
        "open('/etc/passwd')",
        f"import os; os.listdir({str(Path.home())!r})",
    )
    assert set(outcomes(bench, *attempts)) <= REFUSED


def test_files_outside_cannot_be_changed(bench: Bench, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    before = {p.name for p in tmp_path.iterdir()} | {"workspace"}
    path = str(victim)
    attempts = (
        f"open({path!r} + '.new', 'w')",
        f"open({path!r}, 'a')",
        f"import os; os.truncate({path!r}, 0)",
        f"import os; os.unlink({path!r})",
        f"import os; os.rename({path!r}, 'mine')",
        f"import os; os.link({path!r}, 'mine')",
        f"import os; os.mkdir({path!r} + '.folder')",
    )
    # EXDEV (OSError) is the kernel's answer to moving between folders of different rights.
    assert set(outcomes(bench, *attempts)) <= {*REFUSED, "OSError"}
    assert victim.read_text() == "kept"
    assert {p.name for p in tmp_path.iterdir()} == before


def test_what_the_request_names_can_be_read_and_not_changed(bench: Bench, tmp_path: Path) -> None:
    named = {field: tmp_path / field for field in ("upload", "calibration", "evaluation")}
    folder = tmp_path / "folder"
    folder.mkdir()
    paths = [*named.values(), folder / "model.onnx"]
    for path in paths:
        path.write_text("content")
    reads = [f"assert open({str(path)!r}).read() == 'content'" for path in paths]
    writes = [f"open({str(path)!r}, 'a')" for path in paths]
    found = outcomes(bench, *reads, *writes, **named, readable=(folder,))
    assert found[:4] == ["done"] * 4
    assert set(found[4:]) <= {"PermissionError", "OSError"}  # EROFS


def test_nothing_that_would_mislead_the_driver_can_be_left(bench: Bench) -> None:
    attempts = (
        "import os; os.symlink('/etc/passwd', request.files.folder / 'model.onnx')",
        "import os; os.mkfifo(request.files.folder / 'result.json')",
    )
    assert outcomes(bench, *attempts) == ["PermissionError"] * 2


def test_the_workspace_and_temporary_files_can_be_used(bench: Bench) -> None:
    attempt = """\
import os, tempfile
from pathlib import Path
from optimizer.model import write_atomically
write_atomically(request.files.folder / "a.json", b"1")
(request.files.folder / "candidates").mkdir()
with tempfile.TemporaryDirectory() as folder:
    Path(folder, "f").write_text("x")
    os.replace(Path(folder, "f"), request.files.folder / "candidates" / "f")
Path.home().joinpath("cache").touch()
import getpass
getpass.getuser()"""
    assert outcomes(bench, attempt) == ["done"]
    assert (bench.workspace / "candidates" / "f").read_text() == "x"


def test_another_jobs_files_and_the_drivers_secrets_stay_out_of_sight(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other" / "workspace"
    other.mkdir(parents=True)
    (other / "converted.onnx").write_text("theirs")
    monkeypatch.setenv("CLOUD_KEY", "secret")
    driver = os.getpid()
    attempts = (
        f"open({str(other / 'converted.onnx')!r})",
        f"import os; os.listdir({str(other)!r})",
        f"open('/proc/{driver}/environ')",
        f"open('/proc/{driver}/cmdline')",
        f"import os; os.listdir('/proc/{driver}/fd')",
        "import os; os.environ['CLOUD_KEY']",
    )
    found = outcomes(bench, *attempts)
    assert set(found[:-1]) <= REFUSED
    assert found[-1] == "KeyError"


def test_the_driver_cannot_be_traced(bench: Bench) -> None:
    attach = f"""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
assert libc.ptrace(16, {os.getpid()}, None, None) == -1, "attached"
assert libc.ptrace(16, os.getppid(), None, None) == -1, "attached"
"""
    assert outcomes(bench, attach) == ["done"]


def test_no_socket_can_be_opened(bench: Bench) -> None:
    attempts = [
        f"import socket; socket.socket(socket.{family}, socket.{kind})"
        for family in ("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK")
        for kind in ("SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW")
    ]
    assert outcomes(bench, *attempts) == ["PermissionError"] * len(attempts)


@pytest.mark.skipif(sandbox_status().abi < 4, reason="no Landlock for TCP in this kernel")
def test_landlock_alone_refuses_tcp() -> None:
    """Without the seccomp filter, so that each of the two is known to hold."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        code = f"""
import socket
from optimizer.isolation.landlock import restrict
free = socket.socket()
bound = socket.socket()
restrict(())
for attempt in (lambda: free.connect({listener.getsockname()!r}), lambda: bound.bind(("127.0.0.1", 0))):
    try:
        attempt()
    except PermissionError:
        print("refused")
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["refused", "refused"], done.stderr


def test_the_driver_cannot_be_signalled(bench: Bench) -> None:
    if sandbox_status().abi < 6:
        pytest.skip("no Landlock for signals in this kernel")
    assert outcomes(bench, "import os; os.kill(os.getppid(), 0)") == ["PermissionError"]


def test_a_process_of_the_stage_cannot_leave_its_group(bench: Bench) -> None:
    calls = ("os.setsid()", "os.setpgid(0, 0)", "os.setpgid(os.getpid(), os.getpid())")
    forked = """
import os
pid = os.fork()
if pid == 0:
    try:
        {call}
    except PermissionError:
        os._exit(0)
    os._exit(1)
assert os.waitpid(pid, 0)[1] == 0"""
    assert outcomes(bench, *(forked.format(call=call) for call in calls)) == ["done"] * 3


def test_no_other_program_can_be_run(bench: Bench) -> None:
    attempt = "import subprocess; subprocess.run(['/bin/sh', '-c', ''])"
    assert set(outcomes(bench, attempt)) <= REFUSED


def test_core_dumps_are_off_and_the_kernel_picks_the_stage_first(bench: Bench) -> None:
    bench.run("""
        import resource
        reporter.progress(None, str(resource.getrlimit(resource.RLIMIT_CORE)))
        reporter.progress(None, open("/proc/self/oom_score_adj").read().strip())
    """)
    assert bench.messages == ["(0, 0)", "900"]


def test_where_there_is_no_sandbox_the_stage_warns_and_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = SandboxStatus(kind="none", reason="an old kernel")
    monkeypatch.setattr("optimizer.isolation.child.sandbox_status", lambda: none)
    bench.run("reporter.progress(None, 'ran')")
    assert bench.messages == ["no sandbox here: an old kernel", "ran"]


def test_the_status_names_the_sandbox(sandbox: str) -> None:
    status = sandbox_status()
    assert status.kind == sandbox
    assert status.kind == "bubblewrap" or status.abi >= 1


def test_a_second_thread_before_the_sandbox_is_refused(bench: Bench) -> None:
    code = program("reporter.progress(None, 'ran')")[-1]
    early = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    with pytest.raises(Exception, match="before a second thread"):
        bench.run_code(early + code)
    assert bench.messages == []
