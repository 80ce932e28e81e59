"""A stage that was refused memory says so, whatever it dies of; and one that was not is not said to be."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from textwrap import dedent

import pytest
from stage_bench import Bench

from optimizer.errors import InvalidModelError, ResourceLimitError, ToolError
from optimizer.isolation import Limits, StageKilledError

MEGABYTE = 1 << 20
LITTLE = Limits(time_s=30, memory_bytes=100 * MEGABYTE)
# More than libraries take when they load, however many cores there are.
AMPLE = Limits(time_s=30, memory_bytes=5 << 30)

TAKE = """
import mmap
taken = []
def take(size):
    taken.append(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
def take_all_but(left):
    take(left)
    size = 1 << 30
    while size >= mmap.PAGESIZE:
        try:
            take(size)
        except OSError:
            size //= 2
    taken[0].close()
"""


@pytest.mark.parametrize("megabytes", range(64, 120, 8))
def test_a_library_that_finds_no_room_to_load(bench: Bench, megabytes: int) -> None:
    """Where there are several cores, OpenBLAS leaves with exit code 1, or sends itself SIGINT."""
    limits = Limits(time_s=30, memory_bytes=megabytes * MEGABYTE)
    with pytest.raises(ResourceLimitError, match=r"stage probe .* of memory"):
        bench.run("import numpy; numpy.ones(16 << 20)", limits)


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("import os; os._exit(127)", "exit code 127"),
        ("import os; os.abort()", "SIGABRT"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    ],
)
def test_a_death_without_a_word_under_a_little_limit(bench: Bench, statement: str, named: str) -> None:
    with pytest.raises(ResourceLimitError, match=rf"stage probe .*{named}.* of its 0\.0977 GB of memory"):
        bench.run(statement, LITTLE)


@pytest.mark.parametrize("statement", ["import os; os._exit(0)", "import os; os.kill(os.getpid(), 15)"])
def test_an_end_that_no_refused_memory_brings_about(bench: Bench, statement: str) -> None:
    with pytest.raises(ToolError):
        bench.run(statement, LITTLE)


def test_a_kill_from_outside_is_one_whatever_the_log_says(bench: Bench) -> None:
    with pytest.raises(StageKilledError):
        bench.run("import os; os.write(2, b'std::bad_alloc'); os.kill(os.getpid(), 9)", LITTLE)


@pytest.mark.parametrize(("gigabytes", "kind"), [(4, ResourceLimitError), (1, ToolError)])
def test_a_crash_counts_as_want_of_memory_only_near_the_limit(
    bench: Bench, gigabytes: int, kind: type[Exception]
) -> None:
    body = f"""
        for _ in range({gigabytes}):
            take(1 << 30)
        import ctypes, time
        time.sleep(0.5)  # some looks of the watchdog
        ctypes.string_at(0)
    """
    with pytest.raises(kind, match="SIGSEGV"):
        bench.run(TAKE + dedent(body), AMPLE)


@pytest.mark.parametrize("text", ["OpenBLAS error: Memory allocation still failed", "pthread_create failed"])
def test_the_last_words_of_a_crash_can_tell(bench: Bench, text: str) -> None:
    with pytest.raises(ResourceLimitError, match="needed more than 5 GB of memory"):
        bench.run(f"import os; os.write(2, {text.encode()!r}); os._exit(1)", AMPLE)


def test_words_in_the_log_do_not_count_against_a_report(bench: Bench) -> None:
    with pytest.raises(ToolError, match="no such node"):
        bench.run("import os; os.write(2, b'std::bad_alloc'); raise RuntimeError('no such node')", AMPLE)


FAILURES = {
    "raise SystemError('error return without exception set')": "SystemError: error return without",
    "import signal; signal.raise_signal(signal.SIGINT)": "KeyboardInterrupt",
    "import sys; sys.exit(1)": "SystemExit",
}


@pytest.fixture
def ignored_interrupts() -> Iterator[None]:
    """As a shell starts what it puts into the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ignored_interrupts")
@pytest.mark.parametrize(("statement", "named"), FAILURES.items())
def test_an_exception_counts_as_want_of_memory_only_when_none_is_left(
    bench: Bench, statement: str, named: str
) -> None:
    with pytest.raises(ToolError, match=f"stage probe failed: {named}"):
        bench.run(TAKE + statement, AMPLE)
    with pytest.raises(ResourceLimitError, match=f"{named}.*, with little left of its 5 GB of memory"):
        bench.run(TAKE + f"take_all_but(24 << 20)\n{statement}", AMPLE)


def test_our_own_error_counts_so_only_when_another_caused_it(bench: Bench) -> None:
    body = "take_all_but(24 << 20)\nfrom optimizer.errors import InvalidModelError\n"
    with pytest.raises(InvalidModelError, match="no valid model"):
        bench.run(TAKE + body + "raise InvalidModelError('no valid model')")
    with pytest.raises(ResourceLimitError, match="no valid model"):
        bench.run(TAKE + body + "raise InvalidModelError('no valid model') from ValueError('a node')")


def test_a_stage_without_a_page_left_can_still_report(bench: Bench) -> None:
    body = """
        class WordyError(Exception):
            def __str__(self):
                return "no such node" + bytes(1 << 20).decode()[:0]
        take_all_but(mmap.PAGESIZE)
        raise WordyError
    """
    with pytest.raises(ResourceLimitError, match="stage probe failed: WordyError: no such node, with little"):
        bench.run(TAKE + dedent(body), AMPLE)
