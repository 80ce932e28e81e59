"""A fresh process inside a stage: its findings come back, and it neither outlives nor outgrows the stage."""

from __future__ import annotations

import pytest
from stage_bench import Bench, program

from optimizer.errors import InvalidDataError, ResourceLimitError, ToolError
from optimizer.isolation import Limits, StageCancelledError, run_nested


def nesting(inner: str, timeout_s: float = 30.0) -> str:
    """A stage that launches these lines, and reports what they delivered."""
    return f"""
from optimizer.isolation.nested import run_nested_program
from optimizer.workspace import StageRequest
inner = request.model_copy(update={{"stage": "launch", "payload": {{"n": 20}}}})
found = run_nested_program({program(inner)!r}, inner, {timeout_s})
reporter.progress(None, str(found))
"""


def test_what_it_delivers_comes_back(bench: Bench) -> None:
    bench.run(nesting("reporter.result({'n': request.payload['n'] + 1, 'stage': request.stage})"))
    assert bench.messages == ["{'n': 21, 'stage': 'launch'}"]


def test_it_is_another_process_of_the_same_group_and_cannot_leave_the_sandbox(bench: Bench) -> None:
    bench.run(
        "import os; reporter.progress(None, str(os.getpgrp()))"
        + nesting("""
        import os
        try:
            os.listdir("/")
            seen = "all"
        except PermissionError:
            seen = "little"
        own = os.getpid() == os.getpgrp()
        reporter.result({"group": os.getpgrp(), "own": own, "seen": seen, "here": os.listdir(".")})
    """)
    )
    group, found = bench.messages
    assert found == f"{{'group': {group}, 'own': False, 'seen': 'little', 'here': []}}"


def test_its_error_is_the_stages_error(bench: Bench) -> None:
    with pytest.raises(InvalidDataError, match="bad"):
        bench.run(nesting("from optimizer.errors import InvalidDataError; raise InvalidDataError('bad')"))


def test_its_crash_names_it(bench: Bench) -> None:
    with pytest.raises(ToolError, match="stage launch was ended by SIGSEGV"):
        bench.run(nesting("import ctypes; ctypes.string_at(0)"))


def test_its_hang_ends_at_its_time_limit(bench: Bench) -> None:
    with pytest.raises(ResourceLimitError, match=r"launch process took longer than 0\.3 s"):
        bench.run(nesting("import time; time.sleep(60)", 0.3))


def test_the_stages_limits_hold_for_it(bench: Bench) -> None:
    with pytest.raises(ResourceLimitError, match="took longer than 1 s"):
        bench.run(nesting("import time; time.sleep(60)"), Limits(time_s=1.0))


def test_its_memory_counts_with_the_stages(bench: Bench) -> None:
    with pytest.raises(ResourceLimitError, match="needed more than 1 GB"):
        bench.run(nesting("bytearray(4 << 30)"), Limits(time_s=30, memory_bytes=1 << 30))


def test_its_crash_under_a_little_limit_counts_as_want_of_memory(bench: Bench) -> None:
    with pytest.raises(ResourceLimitError, match="stage launch was ended by SIGSEGV, with little left"):
        bench.run(nesting("import ctypes; ctypes.string_at(0)"), Limits(time_s=30, memory_bytes=100 << 20))


def test_it_ends_when_the_stage_is_cancelled(bench: Bench) -> None:
    bench.on_event = lambda event: bench.cancel.set()
    with pytest.raises(StageCancelledError):
        bench.run("reporter.progress(None, 'started')" + nesting("import time; time.sleep(60)"))


def test_it_dies_with_the_stage(bench: Bench) -> None:
    with pytest.raises(ToolError, match="stage probe was ended by SIGKILL"):
        bench.run(nesting("import os, time; os.kill(os.getppid(), 9); time.sleep(60)"))


def test_the_payload_is_added_to_the_request(bench: Bench) -> None:
    """`run_nested` starts the real program, which knows no such stage, and says so."""
    with pytest.raises(Exception, match="no_such_stage"):
        bench.run("""
            from optimizer.isolation import run_nested
            inner = request.model_copy(update={"stage": "no_such_stage"})
            run_nested(inner.model_copy(update={"payload": {"n": 1}}), timeout_s=30)
        """)
    assert callable(run_nested)
