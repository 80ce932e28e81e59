"""Stages share the machine, a measurement has it alone, and a waiting measurement goes first."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stage_bench import Bench

from optimizer.errors import InvalidOptionsError
from optimizer.isolation import LockMode, StageCancelledError, lock_path, machine_lock


class Turns:
    """Threads that take the lock, and the order in which they got it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.order: list[str] = []
        self.cancel = threading.Event()
        self._threads: list[threading.Thread] = []

    def start_waiting(self, name: str, mode: LockMode) -> None:
        """Start a thread that finds the lock taken; return when it waits."""
        waits = threading.Event()

        def take() -> None:
            with machine_lock(mode, self._path, cancel=self.cancel, on_wait=waits.set):
                self.order.append(name)

        thread = threading.Thread(target=take)
        self._threads.append(thread)
        thread.start()
        assert waits.wait(10)
        time.sleep(0.15)  # a few turns of its poll

    def finish(self) -> list[str]:
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        return self.order


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def turns(path: Path) -> Iterator[Turns]:
    turns = Turns(path)
    yield turns
    turns.cancel.set()
    turns.finish()


def fails(path: Path, mode: LockMode) -> bool:
    cancel = threading.Event()
    try:
        with machine_lock(mode, path, cancel=cancel, on_wait=cancel.set):
            return False
    except StageCancelledError:
        return True


def test_stages_share(path: Path) -> None:
    with machine_lock("shared", path), machine_lock("shared", path):
        assert fails(path, "exclusive")
    assert not fails(path, "exclusive")


def test_a_measurement_has_the_machine_alone(path: Path) -> None:
    with machine_lock("exclusive", path):
        assert fails(path, "shared")
        assert fails(path, "exclusive")
    assert not fails(path, "shared")


def test_a_waiting_measurement_goes_before_stages_that_come_later(path: Path, turns: Turns) -> None:
    with machine_lock("shared", path):
        turns.start_waiting("measurement", "exclusive")
        turns.start_waiting("stage", "shared")  # though a stage holds the lock, and could share it
        assert turns.order == []
    assert turns.finish() == ["measurement", "stage"]


def test_a_measurement_goes_before_stages_that_wait_already(path: Path, turns: Turns) -> None:
    with machine_lock("exclusive", path):
        turns.start_waiting("stage", "shared")
        turns.start_waiting("measurement", "exclusive")
    assert turns.finish() == ["measurement", "stage"]


def test_waiting_can_be_cancelled_and_then_stands_in_nobodys_way(path: Path) -> None:
    with machine_lock("shared", path):
        assert fails(path, "exclusive")
        assert not fails(path, "shared")


def test_the_lock_lasts_as_long_as_the_child_that_inherited_it(path: Path) -> None:
    with machine_lock("exclusive", path) as descriptor:
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(descriptor,)
        )
    assert fails(path, "shared")
    child.communicate(b"\n")
    assert not fails(path, "shared")


def test_other_children_do_not_inherit_it(path: Path) -> None:
    with machine_lock("exclusive", path) as descriptor:
        assert not os.get_inheritable(descriptor)


def test_a_lock_file_that_is_cleaned_away_meanwhile_is_made_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else this process and the next would hold locks on two different files."""
    flock = fcntl.flock

    def clean_away_first(descriptor: int, operation: int) -> None:
        monkeypatch.undo()
        path.with_name("lock.gate").unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", clean_away_first)
    with machine_lock("exclusive", path):
        assert path.with_name("lock.gate").exists()


def to_link(path: Path) -> None:
    (path.parent / "target").touch()
    path.symlink_to(path.parent / "target")


@pytest.mark.parametrize("make", [to_link, os.mkfifo, Path.mkdir], ids=["link", "pipe", "folder"])
@pytest.mark.parametrize("suffix", ["", ".gate"])
def test_only_a_plain_file_is_locked(path: Path, make: Callable[[Path], None], suffix: str) -> None:
    make(path.with_name(path.name + suffix))
    with pytest.raises(InvalidOptionsError, match="lock"), machine_lock("shared", path):
        pass


def test_another_user_can_open_the_lock_file(path: Path) -> None:
    before = os.umask(0o077)
    try:
        with machine_lock("shared", path):
            assert path.stat().st_mode & 0o444 == 0o444
    finally:
        os.umask(before)


def test_the_environment_names_the_lock_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXPRESS_LOCK", str(path))
    assert lock_path() == path
    monkeypatch.delenv("ONNXPRESS_LOCK")
    monkeypatch.setenv("TMPDIR", str(path.parent))
    assert lock_path().parent != path.parent


def test_a_stage_waits_for_a_measurement_and_says_so(bench: Bench) -> None:
    bench.lock = "shared"
    bench.on_event = lambda event: bench.cancel.set()
    with machine_lock("exclusive"), pytest.raises(StageCancelledError):
        bench.run("reporter.progress(None, 'ran')")
    assert bench.messages == ["waiting for a measurement to end"]


def test_a_stage_holds_the_lock_while_it_runs(bench: Bench) -> None:
    bench.lock = "shared"
    seen = []
    bench.on_event = lambda event: seen.append(
        (fails(lock_path(), "exclusive"), fails(lock_path(), "shared"))
    )
    bench.run("reporter.progress(None, 'runs')")
    assert seen == [(True, False)]
    assert not fails(lock_path(), "exclusive")


def test_a_measurement_holds_the_lock_alone_while_it_runs(bench: Bench) -> None:
    bench.lock = "exclusive"
    seen = []
    bench.on_event = lambda event: seen.append(fails(lock_path(), "shared"))
    bench.run("reporter.progress(None, 'runs')")
    assert seen == [True]
    assert not fails(lock_path(), "exclusive")


def test_two_drivers_never_overlap_a_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight stages in two threads, each noting when it began and ended: no measurement overlaps any other."""
    monkeypatch.setenv("ONNXPRESS_LOCK", str(tmp_path / "lock"))
    spans: list[tuple[LockMode, float, float]] = []
    modes: tuple[LockMode, ...] = ("shared", "exclusive", "shared", "exclusive")

    def drive(folder: Path) -> None:
        for mode in modes:
            bench = Bench(folder)
            bench.lock = mode
            bench.run("""
                import time
                begin = time.monotonic()
                time.sleep(0.05)
                reporter.progress(None, f"span {begin} {time.monotonic()}")
            """)
            begin, end = next(m for m in bench.messages if m.startswith("span")).split()[1:]
            spans.append((mode, float(begin), float(end)))

    threads = [threading.Thread(target=drive, args=(tmp_path / name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(spans) == 8
    for mode, begin, end in spans:
        others = [span for span in spans if span != (mode, begin, end)]
        overlapping = [span for span in others if span[1] < end and begin < span[2]]
        assert mode == "shared" or not overlapping
