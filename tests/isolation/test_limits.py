"""A stage over a limit ends as an error that names it."""

from __future__ import annotations

import pytest
from stage_bench import Bench

from optimizer.errors import ResourceLimitError
from optimizer.isolation import Limits

GIGABYTE = 1 << 30


def test_4_gb_asked_under_a_limit_of_2_is_a_resource_error(bench: Bench) -> None:
    with pytest.raises(ResourceLimitError, match="stage probe needed more than 2 GB of memory"):
        bench.run("bytearray(4 << 30)", Limits(time_s=30, memory_bytes=2 * GIGABYTE))
    assert "MemoryError" in bench.log  # refused at once, not when the watchdog saw it


def test_4_gb_asked_of_numpy_is_a_resource_error(bench: Bench) -> None:
    with pytest.raises(ResourceLimitError, match="needed more than 2 GB"):
        bench.run("import numpy; numpy.ones(1 << 29)", Limits(time_s=30, memory_bytes=2 * GIGABYTE))


def test_a_third_partys_out_of_memory_is_a_resource_error(bench: Bench) -> None:
    with pytest.raises(ResourceLimitError, match="memory"):
        bench.run("""
            from optimizer.errors import InvalidModelError
            try:
                raise RuntimeError("std::bad_alloc")
            except RuntimeError as error:
                raise InvalidModelError("no valid model") from error
        """)


def test_an_abort_for_want_of_memory_is_a_resource_error(bench: Bench) -> None:
    with pytest.raises(ResourceLimitError, match="memory"):
        bench.run("import os; os.write(2, b'terminate called after ... std::bad_alloc'); os.abort()")


def test_memory_of_many_processes_counts_together(bench: Bench) -> None:
    limits = Limits(time_s=30, memory_bytes=300 << 20)
    with pytest.raises(ResourceLimitError, match=r"stage probe needed more than 0\.293 GB of memory"):
        bench.run(
            """
            import os, time
            for _ in range(3):
                if os.fork() == 0:
                    block = b"x" * (120 << 20)
                    time.sleep(60)
            time.sleep(60)
            """,
            limits,
        )


def test_a_hang_ends_at_the_time_limit(bench: Bench) -> None:
    with pytest.raises(ResourceLimitError, match=r"stage probe took longer than 0.5 s"):
        bench.run(
            "import time, signal; signal.signal(15, signal.SIG_IGN); time.sleep(60)", Limits(time_s=0.5)
        )


def test_a_flood_of_events_does_not_stop_the_clock(bench: Bench) -> None:
    body = "import itertools\nfor n in itertools.count(): reporter.progress(None, str(n))"
    with pytest.raises(ResourceLimitError, match="took longer"):
        bench.run(body, Limits(time_s=0.5))


def test_a_writer_of_one_file_ends_at_the_file_limit(bench: Bench) -> None:
    """With a hole, so that the workspace does not grow: on a busy machine the watchdog may be first else."""
    with pytest.raises(ResourceLimitError, match="stage probe wrote a file of more than"):
        bench.run(
            """
            with open(request.files.folder / "big", "wb") as file:
                file.seek(8 << 20)
                file.write(b"x")
            """,
            Limits(time_s=30, file_bytes=8 << 20),
        )


def test_a_writer_of_many_files_ends_at_the_file_limit(bench: Bench) -> None:
    with pytest.raises(ResourceLimitError, match="stage probe wrote more than"):
        bench.run(
            """
            import itertools, time
            for n in itertools.count():
                (request.files.folder / str(n)).write_bytes(b"x" * (1 << 20))
                time.sleep(0.02)
            """,
            Limits(time_s=30, file_bytes=8 << 20),
        )
