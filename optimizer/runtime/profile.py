"""Runs a model under ONNX Runtime's profiler, and reads what it wrote."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from optimizer.runtime.session import open_session

LEAST_RUNS, MOST_RUNS = 5, 500

_SUFFIX = "_kernel_time"


@dataclass(frozen=True)
class KernelCall:
    """One call of one node's kernel. Times are whole microseconds, which is all that the profiler writes."""

    node: str
    op_type: str
    start_us: int
    duration_us: int
    """With what the profiler does in it, some 2 microseconds; of a Loop, Scan or If with its body."""
    input_types: tuple[str, ...] = ()
    """Element types of the tensors that it reads, as ONNX Runtime names them: float, uint8, ..."""


def profile_runs(
    path: Path,
    feeds: Mapping[str, NDArray[Any]],
    threads: int = 1,
    budget_s: float = 0.5,
    optimized: Path | None = None,
) -> tuple[tuple[KernelCall, ...], ...]:
    """Run a model on the CPU under the profiler.

    Args:
        path: An ONNX file.
        feeds: One array per input.
        threads: Threads within one operator.
        budget_s: Time for all runs; slow models exceed it to get enough runs.
        optimized: Where to write the graph that runs, whose nodes are named as in the calls.

    Returns:
        For each run the calls of its kernels in the order of their starts, those of bodies included. The
        first run, which allocates, is left out.

    Raises:
        OptimizerError: If the model cannot be loaded, or cannot run on these feeds.
    """
    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder) / "profile"
        session = open_session(path, threads=threads, profile=prefix, optimized=optimized)
        session.run(feeds)
        run = session.repeatable(feeds)
        deadline, runs = time.perf_counter() + budget_s, 0
        while runs < LEAST_RUNS or (runs < MOST_RUNS and time.perf_counter() < deadline):
            run()
            runs += 1
        events = json.loads(session.end_profile().read_bytes())
    return _calls_by_run(events)[1:]


def _calls_by_run(events: list[dict[str, Any]]) -> tuple[tuple[KernelCall, ...], ...]:
    """Kernel calls in the order of their starts, parted at the runs that they fall into."""
    starts = sorted(int(event["ts"]) for event in events if event["name"] == "model_run")
    runs: list[list[KernelCall]] = [[] for _ in starts]
    calls = sorted(
        (_call(event) for event in events if _is_kernel(event)),
        # What holds a body starts no later than the body and lasts no shorter.
        key=lambda call: (call.start_us, -call.duration_us),
    )
    number = -1
    for call in calls:
        while number + 1 < len(starts) and starts[number + 1] <= call.start_us:
            number += 1
        runs[number].append(call)
    return tuple(map(tuple, runs))


def _is_kernel(event: Mapping[str, Any]) -> bool:
    return event.get("cat") == "Node" and str(event["name"]).endswith(_SUFFIX)


def _call(event: Mapping[str, Any]) -> KernelCall:
    return KernelCall(
        node=str(event["name"]).removesuffix(_SUFFIX),
        op_type=str(event["args"]["op_name"]),
        start_us=int(event["ts"]),
        duration_us=int(event["dur"]),
        input_types=tuple(kind for entry in event["args"].get("input_type_shape", ()) for kind in entry),
    )
