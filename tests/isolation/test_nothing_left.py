"""However a stage ends, each of its processes and temporary files ends with it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from stage_bench import Bench, alive, program

from optimizer.errors import ToolError
from optimizer.isolation import StageCancelledError, StageEvent

pytestmark = pytest.mark.usefixtures("sandbox")


@pytest.mark.parametrize("escape", ["", "os.setpgid(0, 0)", "os.setsid(); os.fork()"])
@pytest.mark.parametrize("ending", ["", "raise RuntimeError('x')", "os._exit(0)"])
def test_no_grandchild_is_left(bench: Bench, escape: str, ending: str) -> None:
    grandchild = f"""
if os.fork() == 0:
    try:
        {escape or "pass"}
    except PermissionError:
        pass  # where there is a sandbox
    time.sleep(300)
"""
    body = f"import os, time\n{grandchild}\n{ending or 'pass'}"
    if ending:
        with pytest.raises(ToolError):
            bench.run(body)
    else:
        bench.run(body)
    assert alive(str(bench.workspace)) == []


def test_an_exception_of_the_listener_ends_the_stage(bench: Bench) -> None:
    def fail(event: StageEvent) -> None:
        raise KeyError(event.message)

    bench.on_event = fail
    with pytest.raises(KeyError, match="started"):
        bench.run("import time; reporter.progress(None, 'started'); time.sleep(60)")


def test_a_cancelled_stage_ends(bench: Bench) -> None:
    bench.on_event = lambda event: bench.cancel.set()
    with pytest.raises(StageCancelledError):
        bench.run("import time; reporter.progress(None, 'started'); time.sleep(60)")


def test_a_silent_stage_can_be_cancelled_from_another_thread(bench: Bench) -> None:
    timer = threading.Timer(0.5, bench.cancel.set)
    timer.start()
    with pytest.raises(StageCancelledError):
        bench.run("import time; time.sleep(60)")
    timer.join()


def test_ctrl_c_ends_the_stage(bench: Bench) -> None:
    bench.on_event = lambda event: signal.raise_signal(signal.SIGINT)
    # A shell starts what it puts into the background with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            bench.run("import time; reporter.progress(None, 'started'); time.sleep(60)")
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_stage_dies_with_its_driver(tmp_path: Path) -> None:
    marker = tmp_path / "workspace"
    code = f"""
import sys, threading
from pathlib import Path
from optimizer.isolation import Limits
from optimizer.isolation.child import Caller, run_program
from optimizer.workspace import StageRequest
say = lambda event: print(event.message, flush=True)
run_program({program("import time; reporter.progress(None, 'started'); time.sleep(60)")!r},
            StageRequest(stage="probe", workspace=Path({str(marker)!r})), Limits(), Caller(None, say))
"""
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert driver.stdout is not None
    assert driver.stdout.readline() == b"started\n"
    assert len(alive(str(marker))) >= 2
    driver.kill()
    driver.wait()
    driver.stdout.close()
    deadline = time.monotonic() + 10
    while alive(str(marker)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive(str(marker)) == []


def test_a_stage_whose_driver_died_before_it_could_look_ends_at_once() -> None:
    code = "from optimizer.isolation.confine import _die_with; _die_with(1, 1); print('goes on')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_a_workspace_without_write_permission_for_its_folders_is_still_cleaned(bench: Bench) -> None:
    bench.run("""
        import os
        os.makedirs("locked/inner")
        open("locked/inner/file", "w").close()
        os.chmod("locked/inner", 0)
        os.chmod("locked", 0)
    """)
