"""Time per operator of a model, in the process that it is called in: give it a fresh one.

    time of a kernel = mean over the middle half of its runs;   share = its time / the sum of all

ONNX Runtime's clock ticks in whole microseconds, so a median would tick too.
"""

from __future__ import annotations

import time

import numpy as np

from optimizer.benchmark.launch import LaunchRequest, launch_feeds
from optimizer.options import Options
from optimizer.runtime import open_session, trace_kernels

FEWEST_RUNS, MOST_RUNS = 20, 300


class Kernel(Options):
    """What the runtime runs for one operator, or for several that it fused."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    input_types: tuple[str, ...] = ()
    time_us: float


class OperatorTimes(Options):
    """The kernels of a model, in the order in which they run."""

    kernels: tuple[Kernel, ...]


def time_operators(request: LaunchRequest) -> OperatorTimes:
    """Profile a model: the first that the request names.

    Raises:
        OptimizerError: If it cannot be loaded, or cannot run on the inputs.
    """
    path = request.models[0]
    session = open_session(path, request.provider, request.threads)
    _, feeds = launch_feeds(session.inputs, session.outputs, request)
    session.run(feeds)
    start = time.perf_counter()
    session.run(feeds)
    run_s = time.perf_counter() - start
    runs = max(FEWEST_RUNS, min(MOST_RUNS, int(request.budget_s / run_s)))
    traces = trace_kernels(path, feeds, request.provider, request.threads, runs)
    return OperatorTimes(
        kernels=tuple(
            Kernel(
                name=trace.name,
                operator=trace.operator,
                inputs=trace.inputs,
                outputs=trace.outputs,
                input_types=trace.input_types,
                time_us=middle_mean(trace.times_us),
            )
            for trace in traces
        )
    )


def middle_mean(times: tuple[float, ...]) -> float:
    """The mean of the middle half; 0 of nothing.

    >>> middle_mean((1.0, 2.0, 3.0, 90.0))
    2.5
    """
    quarter = len(times) // 4
    middle = sorted(times)[quarter : len(times) - quarter]
    return float(np.mean(middle)) if middle else 0.0
