"""Times each node of a model, in the process that it is called in: give it a fresh one.

    own[i, run]  = duration of the node's calls - duration of what ran inside them     a Loop without its body
    own[i]       = mean of the middle half over runs of own[i, run]
    cost         = the least of own[i] / calls[i], at most (sum(own) - latency) / sum(calls)   i holds no body
    rest[i]      = max(own[i] - calls[i] * cost, 0)
    time[i]      = rest[i] * k                                  with k <= 1 so that sum(time) <= latency,
                                                                k = 1 outside of loops wherever that suffices

ONNX Runtime's profiler takes some 2 microseconds in each call that it times, ten times what a small kernel
takes; it also slows the kernels, and its clock counts whole microseconds. So the latency is measured without
it. What the calls add up to beyond that is the profiler's: first a cost that is the same for each call, what
a kernel that does next to nothing takes, then a share of all. Kernels under a microsecond stay rough.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING

from optimizer.benchmark.launch import LaunchRequest, launch_feeds
from optimizer.errors import InvalidOptionsError
from optimizer.runtime import KernelCall, open_session, profile_runs
from optimizer.timings import NodeTime, OperatorTimes

if TYPE_CHECKING:
    import onnx

Node = tuple[str, str]
"""Name and operator."""

_LEAST_RUNS, _MOST_RUNS = 10, 2000


def time_per_operator(request: LaunchRequest, connected: bool = False) -> tuple[OperatorTimes, ...]:
    """Measure where the time of one or two models goes, node by node.

    Args:
        request: The files, quantized ones too; threads, batch size and samples as for `time_launch`. Of each
            model half of the budget goes to runs without the profiler, half to runs under it.
        connected: Whether to tell what each node of the main graph reads and writes.

    Returns:
        Of each model its nodes, as ONNX Runtime runs them after its own fusions, with the time of each in one
        run; they add up to the latency, or less where threads wait between operators.

    Raises:
        InvalidOptionsError: If the provider is not cpu: on a GPU kernels run on after their calls return.
        OptimizerError: If a model cannot be loaded, or cannot run on the inputs.
    """
    if request.provider != "cpu":
        raise InvalidOptionsError(
            f"Time per operator is measured on the CPU, not on {request.provider}.", hint="Use provider cpu."
        )
    # One after another: one copy of the weights at a time.
    return tuple(_times_of(path, request, connected) for path in request.models)


def _times_of(path: Path, request: LaunchRequest, connected: bool) -> OperatorTimes:
    session = open_session(path, threads=request.threads)
    _, feeds = launch_feeds(session.inputs, session.outputs, request)
    latency_ms = _latency_ms(session.repeatable(feeds), request.budget_s / 2)
    del session
    if not connected:
        return summed_up(profile_runs(path, feeds, request.threads, request.budget_s / 2), latency_ms)
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        runs = profile_runs(path, feeds, request.threads, request.budget_s / 2, optimized)
        graph = onnx.load(optimized, load_external_data=False).graph
    return with_connections(summed_up(runs, latency_ms), graph)


def _latency_ms(run: Callable[[], None], budget_s: float) -> float:
    """One run, summed up as those under the profiler are: an interruption must not count in one alone."""
    run()
    times_ms: list[float] = []
    deadline = time.perf_counter() + budget_s
    while len(times_ms) < _LEAST_RUNS or (len(times_ms) < _MOST_RUNS and time.perf_counter() < deadline):
        start = time.perf_counter_ns()
        run()
        times_ms.append((time.perf_counter_ns() - start) / 1e6)
    return _middle_mean(times_ms)


def summed_up(runs: Sequence[Sequence[KernelCall]], latency_ms: float) -> OperatorTimes:
    """Turn what the profiler saw into times that add up to the latency at most; see the formula above.

    Args:
        runs: Of each run under the profiler its calls, in the order of their starts.
        latency_ms: One run without the profiler.
    """
    calls: dict[Node, int] = defaultdict(int)
    types: dict[Node, tuple[str, ...]] = {}
    own_us: dict[Node, list[float]] = defaultdict(lambda: [0.0] * len(runs))
    loops: set[Node] = set()
    bodies: set[Node] = set()
    for number, run in enumerate(runs):
        for call in run:
            calls[call.node, call.op_type] += 1
            types[call.node, call.op_type] = call.input_types
        for call, time_us, holds, is_held in _own_times(run):
            own_us[call.node, call.op_type][number] += time_us
            loops.update([(call.node, call.op_type)] if holds else ())
            bodies.update([(call.node, call.op_type)] if is_held else ())
    calls_per_run = {node: count / len(runs) for node, count in calls.items()}
    measured_ms = {node: _middle_mean(own_us[node]) / 1e3 for node in calls}
    times_ms = _without_profiler(measured_ms, calls_per_run, latency_ms, loops, bodies)
    return OperatorTimes(
        latency_ms=latency_ms,
        profiler_ms=sum(measured_ms.values()) - sum(times_ms.values()),
        nodes=tuple(
            NodeTime(
                node=node[0],
                op_type=node[1],
                calls=calls_per_run[node],
                time_ms=time_ms,
                input_types=types[node],
            )
            for node, time_ms in times_ms.items()
        ),
    )


def with_connections(times: OperatorTimes, graph: onnx.GraphProto) -> OperatorTimes:
    """Tell what each node reads and writes.

    Args:
        times: Of the nodes.
        graph: What ONNX Runtime ran, after all of its optimizations.

    Returns:
        The nodes of the graph in its order, then those of bodies. Nodes that have one name in the graph were
        timed together: each has an equal part.
    """
    timed = {(one.node, one.op_type): one for one in times.nodes}
    shared = Counter((node.name, node.op_type) for node in graph.node)
    nodes = []
    for node in graph.node:
        key = node.name, node.op_type
        one = timed.get(key) or NodeTime(node=node.name, op_type=node.op_type, calls=0, time_ms=0)
        part = {"calls": one.calls / shared[key], "time_ms": one.time_ms / shared[key]}
        nodes.append(one.model_copy(update={**part, "inputs": (*node.input,), "outputs": (*node.output,)}))
    bodies = (one for key, one in timed.items() if key not in shared)
    return times.model_copy(update={"nodes": (*nodes, *bodies)})


def _own_times(run: Sequence[KernelCall]) -> Iterator[tuple[KernelCall, float, bool, bool]]:
    """Each call, and its time without what ran inside it and without the profiler between.

    Then whether other calls ran inside it, and whether it ran inside another.
    """
    gap_us = _gap_us(run)
    holding: list[tuple[KernelCall, list[float]]] = []  # the calls that hold the current one, with its likes

    def finished() -> tuple[KernelCall, float, bool, bool]:
        call, inside_us = holding.pop()
        return call, max(call.duration_us - sum(inside_us), 0.0), bool(inside_us), bool(holding)

    for call in run:
        while holding and call.start_us >= holding[-1][0].start_us + holding[-1][0].duration_us:
            yield finished()
        if holding:
            holding[-1][1].append(call.duration_us + gap_us)
        holding.append((call, []))
    while holding:
        yield finished()


def _gap_us(run: Sequence[KernelCall]) -> float:
    """From the end of a call to the start of the next: there the profiler writes down what it saw."""
    gaps = [
        after.start_us - before.start_us - before.duration_us for before, after in itertools.pairwise(run)
    ]
    gaps = [gap for gap in gaps if gap >= 0]  # negative: the next one runs inside this one
    return statistics.median(gaps) if gaps else 0.0


def _middle_mean(values: Sequence[float]) -> float:
    """The mean of the middle half: finer than whole microseconds, and blind to interruptions."""
    cut = len(values) // 4
    return statistics.fmean(sorted(values)[cut : len(values) - cut])


def _without_profiler(
    measured_ms: Mapping[Node, float],
    calls: Mapping[Node, float],
    latency_ms: float,
    loops: Set[Node],
    bodies: Set[Node],
) -> dict[Node, float]:
    """Each node's time without what the profiler cost; see the formula above."""
    excess_ms = max(sum(measured_ms.values()) - latency_ms, 0.0)
    # A loop's own time is a difference, which may be next to nothing: it tells no cost.
    each_ms = (time_ms / calls[node] for node, time_ms in measured_ms.items() if node not in loops)
    least_ms = min(each_ms, default=0.0)
    cost_ms = min(least_ms, excess_ms / max(sum(calls.values()), 1.0))
    rest_ms = {node: max(time_ms - calls[node] * cost_ms, 0.0) for node, time_ms in measured_ms.items()}
    looped = loops | bodies
    outside_ms = sum(time_ms for node, time_ms in rest_ms.items() if node not in looped)
    outside = _share(latency_ms, outside_ms)
    inside = _share(latency_ms - outside * outside_ms, sum(rest_ms.values()) - outside_ms)
    return {node: time_ms * (inside if node in looped else outside) for node, time_ms in rest_ms.items()}


def _share(allowed_ms: float, found_ms: float) -> float:
    """The factor that keeps a time within what it may be; it lengthens none."""
    return min(max(allowed_ms, 0.0) / found_ms, 1.0) if found_ms > 0 else 1.0
