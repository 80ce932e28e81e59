"""Times one model, or two in turns, in the process that it is called in: give each launch a fresh one.

A B  B A  A B  ...      two models, one block each in turn; the order swaps so that a drift hits both alike
time of a block = (end - start) / runs;   latency = median over blocks
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydantic import Field

from optimizer.benchmark.compare import LaunchTimes
from optimizer.data import generate_inputs, open_dataset
from optimizer.goal import Provider
from optimizer.options import Options
from optimizer.results import TensorSpec
from optimizer.runtime import Session, fixed_batch_of, open_session

Run = Callable[[], object]

BLOCK_S = 0.010
"""A block lasts about this long, or one run where that is longer: far above the clock's resolution."""

MIN_BLOCKS, USUAL_BLOCKS, MAX_BLOCKS = 5, 20, 60
"""Timed blocks per model: at the least, where they fit into three time budgets, at the most."""

WARM_UP_S = 0.5
"""Warm-up ends here at the latest, after one run at the least."""


class LaunchRequest(Options):
    """What one launch measures."""

    models: tuple[Path, ...] = Field(min_length=1, max_length=2)
    """One ONNX file, or two to compare: baseline, candidate."""

    provider: Provider = "cpu"
    """Execution provider."""

    threads: int = Field(default=1, ge=1)
    """Threads within one operator."""

    batch_size: int = Field(default=1, ge=1)
    """Items per run, where the model leaves that free."""

    seed: int = 0
    """Of the generated inputs. Number the launches of a comparison: odd ones load the second model first."""

    samples: Path | None = None
    """Data to run on; left out: generated inputs."""

    scale: int = Field(default=1, ge=1)
    """Times the usual size of generated inputs."""

    budget_s: float = Field(default=1.0, gt=0.0)
    """Time for the blocks of all models together; slow models exceed it to get enough blocks."""


def time_launch(request: LaunchRequest) -> LaunchTimes:
    """Load the models and time them, in blocks that take turns.

    Raises:
        UnavailableProviderError: If the provider cannot be used; CPU figures are never given for another.
        OptimizerError: If a model cannot be loaded, or cannot run on the inputs.
    """
    # What is loaded first may lie better in memory: odd seeds swap, so that over launches neither profits.
    turn = 1 if request.seed % 2 == 0 else -1
    sessions = [open_session(path, request.provider, request.threads) for path in request.models[::turn]]
    inputs = [launch_feeds(session.inputs, session.outputs, request) for session in sessions]
    feeds = [one for _, one in inputs]
    times_ms = time_blocks([_runner(s, f) for s, f in zip(sessions, feeds, strict=True)], request.budget_s)
    device_ms: list[list[float]] = []
    if request.provider != "cpu":
        bound = [session.bind(one).run for session, one in zip(sessions, feeds, strict=True)]
        device_ms = time_blocks(bound, request.budget_s)
    return LaunchTimes.of(*times_ms[::turn], batch_size=inputs[0][0]).model_copy(
        update={
            "device_ms": tuple(map(statistics.median, device_ms[::turn])),
            "placement": tuple(session.placement() for session in sessions[::turn]),
        }
    )


def launch_feeds(
    inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], request: LaunchRequest
) -> tuple[int, dict[str, NDArray[Any]]]:
    """The inputs of a launch: from its samples where it names some, else generated.

    Args:
        inputs: Of the model.
        outputs: Of the model; labels may be named after one.
        request: Says which samples, how many items, and the seed.

    Returns:
        Items per run (a fixed batch overrules the request), and an array per input.

    Raises:
        InvalidDataError: If the samples do not fit the inputs.
    """
    size = fixed_batch_of(inputs) or request.batch_size
    if request.samples is None:
        return size, generate_inputs(inputs, size, request.seed, scale=request.scale)
    dataset = open_dataset(request.samples, inputs, outputs)
    feeds = next(iter(dataset.batches(range(min(size, dataset.count)), size))).feeds
    if dataset.whole_calls or dataset.count >= size:
        return size, feeds
    # Fewer samples than the batch holds: some serve twice, which costs the same time.
    rows = [row % dataset.count for row in range(size)]
    return size, {name: array[rows] if array.ndim else array for name, array in feeds.items()}


def time_blocks(runs: Sequence[Run], budget_s: float = 1.0) -> list[list[float]]:
    """Time callables in blocks that take turns: our models here, the upload in its own runtime elsewhere.

    Args:
        runs: One callable per model, each a whole run.
        budget_s: Time for all blocks together; slow models exceed it to get enough blocks.

    Returns:
        Per model, the time per run of each of its blocks, in ms.
    """
    with _undisturbed():
        run_s = [_warm_up(run) for run in runs]
        repeats = [max(1, round(BLOCK_S / seconds)) for seconds in run_s]
        turn_s = sum(repeat * seconds for repeat, seconds in zip(repeats, run_s, strict=True))
        times_ms: list[list[float]] = [[] for _ in runs]
        for turn in range(_block_count(turn_s, budget_s)):
            order = range(len(runs)) if turn % 2 == 0 else reversed(range(len(runs)))
            for index in order:
                times_ms[index].append(1e3 * _block_s(runs[index], repeats[index]))
    return times_ms


def _block_count(turn_s: float, budget_s: float) -> int:
    affordable = int(budget_s / turn_s)
    if affordable < USUAL_BLOCKS:
        affordable = min(USUAL_BLOCKS, int(3 * budget_s / turn_s))
    return min(MAX_BLOCKS, max(MIN_BLOCKS, affordable))


def _block_s(run: Run, repeats: int) -> float:
    start = time.perf_counter_ns()
    for _ in range(repeats):
        run()
    return max(1, time.perf_counter_ns() - start) / 1e9 / repeats


def _warm_up(run: Run) -> float:
    """Run until it gets no faster; returns the seconds of one run."""
    deadline = time.perf_counter() + WARM_UP_S
    best = _block_s(run, 1)
    while time.perf_counter() < deadline:
        seconds = _block_s(run, max(1, round(BLOCK_S / best)))
        if seconds > 0.97 * best:
            return min(seconds, best)
        best = seconds
    return best


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep Python's garbage collector out of the blocks."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _runner(session: Session, feeds: Mapping[str, NDArray[Any]]) -> Run:
    session.run(feeds)  # a first run allocates, and fails with our words where it fails
    return session.repeatable(feeds)
