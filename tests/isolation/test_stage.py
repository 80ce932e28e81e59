"""What a driver gets from a stage that ends well, and from one that fails or crashes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from stage_bench import Bench, alive

from optimizer.errors import KINDS, InvalidDataError, InvalidOptionsError, OptimizerError, ToolError
from optimizer.isolation import StageEvent, StageKilledError


def test_progress_arrives_in_order_and_files_stay(bench: Bench) -> None:
    bench.run("""
        reporter.progress(0.25, "half of the half")
        reporter.progress(None, "reading")
        request.files.folder.joinpath("made.txt").write_text("x" * 10)
        print("to the log")
    """)
    assert bench.events == [
        StageEvent(stage="probe", fraction=0.25, message="half of the half"),
        StageEvent(stage="probe", message="reading"),
    ]
    assert (bench.workspace / "made.txt").read_text() == "x" * 10
    assert bench.log == "to the log\n"


def test_the_request_arrives_whole(bench: Bench) -> None:
    bench.run(
        "reporter.progress(None, request.model_dump_json())", goal={"batch_size": 7}, payload={"a": [1]}
    )
    assert '"batch_size":7' in bench.messages[0]
    assert '"payload":{"a":[1]}' in bench.messages[0]


def test_a_reported_error_keeps_kind_message_and_hint(bench: Bench) -> None:
    with pytest.raises(InvalidDataError, match="x has 3 axes") as caught:
        bench.run("""
            from optimizer.errors import InvalidDataError
            raise InvalidDataError("x has 3 axes", hint="Give it 4.")
        """)
    assert caught.value.hint == "Give it 4."


@pytest.mark.parametrize("statement", ["{}['x']", "import sys; sys.exit(0)", "raise RuntimeError('x')"])
def test_any_other_exception_names_the_stage_and_leaves_its_traceback_in_the_log(
    bench: Bench, statement: str
) -> None:
    with pytest.raises(ToolError, match="stage probe") as caught:
        bench.run(statement)
    assert "Traceback" in bench.log
    assert "probe.log" in caught.value.hint


def test_control_characters_do_not_reach_the_terminal(bench: Bench) -> None:
    with pytest.raises(ToolError, match=r"node \?\[31m"):
        bench.run("reporter.progress(None, '\\x1b]0;x\\x07'); raise RuntimeError('node \\x1b[31m')")
    assert bench.messages == ["?]0;x?"]


@pytest.mark.parametrize("line", [b"hello\n", b'{"type":"progress"}\n', b'{"type":"done","x":1}\n'])
def test_a_child_that_talks_nonsense_is_ended(bench: Bench, line: bytes) -> None:
    body = f"import os, time; os.write(reporter._descriptor, {line!r}); time.sleep(2)"
    if b"progress" in line:  # this one is no nonsense
        bench.run(body.replace("sleep(2)", "sleep(0)"))
        return
    with pytest.raises(ToolError, match="no report"):
        bench.run(body)


def test_leaving_without_a_report_is_no_success(bench: Bench) -> None:
    with pytest.raises(ToolError, match="stage probe ended with exit code 0 and no report: last words"):
        bench.run("import os; os.write(2, b'first\\nlast words\\n'); os._exit(0)")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM])
def test_a_crash_names_the_stage_and_the_signal(bench: Bench, number: signal.Signals) -> None:
    with pytest.raises(ToolError, match=f"stage probe was ended by {number.name}") as caught:
        bench.run(f"import os; os.kill(os.getpid(), {int(number)})")
    assert "probe.log" in caught.value.hint


def test_a_crash_in_native_code_names_the_stage_and_the_signal(bench: Bench) -> None:
    with pytest.raises(ToolError, match="SIGSEGV"):
        bench.run("import ctypes; ctypes.string_at(0)")


@pytest.mark.parametrize(
    ("file", "library", "hint"),
    [
        (
            "/lib/tensorflow/lite/python/interpreter.py",
            "TFLite's interpreter",
            "Convert the model to TFLite again",
        ),
        ("/lib/onnxruntime/capi/session.py", "ONNX Runtime", "another version"),
    ],
)
def test_a_crash_inside_a_library_names_it_and_says_what_to_do(
    bench: Bench, file: str, library: str, hint: str
) -> None:
    crash = f"exec(compile('import ctypes; ctypes.string_at(0)', {file!r}, 'exec'))"
    with pytest.raises(ToolError, match=f"stage probe was ended by SIGSEGV in {library}") as caught:
        bench.run(crash)
    assert hint in caught.value.hint
    assert "probe.log" in caught.value.hint


def test_kill_9_from_outside_names_the_stage_and_the_likely_cause(bench: Bench) -> None:
    def kill(event: StageEvent) -> None:
        # By its number out here: inside bubblewrap it has another.
        for process in alive(str(bench.workspace)):
            number, command = process.split(" ", 1)
            if command.startswith(sys.executable):
                os.kill(int(number), signal.SIGKILL)

    bench.on_event = kill
    with pytest.raises(StageKilledError, match="stage probe was ended by SIGKILL") as caught:
        bench.run("import time; reporter.progress(None, 'works'); time.sleep(60)")
    assert "memory" in caught.value.hint


def test_a_kind_of_our_own_reaches_users_by_the_name_of_its_base() -> None:
    assert StageKilledError("x").to_problem() == ToolError("x").to_problem()
    assert all(kind("x").kind == name for name, kind in KINDS.items())


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGTERM])
def test_another_signal_than_kill_is_no_reason_to_start_again(bench: Bench, number: signal.Signals) -> None:
    with pytest.raises(ToolError) as caught:
        bench.run(f"import os; os.kill(os.getpid(), {int(number)})")
    assert not isinstance(caught.value, StageKilledError)


def test_a_crash_after_the_report_loses_nothing(bench: Bench) -> None:
    bench.run("import os; reporter.done(); os.kill(os.getpid(), 11)")


def test_a_teardown_that_hangs_is_cut_short(bench: Bench) -> None:
    bench.run("import atexit, time; atexit.register(time.sleep, 300)")


def test_a_log_that_is_a_link_is_not_followed(bench: Bench, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("kept")
    (bench.workspace / "logs").mkdir(parents=True)
    (bench.workspace / "logs" / "probe.log").symlink_to(secret)
    with pytest.raises(InvalidOptionsError, match="log"):
        bench.run("print('overwritten')")
    assert secret.read_text() == "kept"


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A"])
def test_a_stage_name_that_is_no_name_is_refused(bench: Bench, name: str) -> None:
    bench.workspace.mkdir()
    with pytest.raises(InvalidOptionsError, match="name of a stage"):
        bench.run("pass", stage=name)


def test_errors_are_ours(bench: Bench) -> None:
    with pytest.raises(OptimizerError):
        bench.run("raise RecursionError()")
