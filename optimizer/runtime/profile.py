"""The kernels that a loaded model runs, with ONNX Runtime's own times, and how they are connected."""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from optimizer.goal import Provider
from optimizer.runtime import native

if TYPE_CHECKING:
    import onnx

_SUFFIX = "_kernel_time"


@dataclass(frozen=True)
class KernelTrace:
    """One kernel of the main graph, after all of ONNX Runtime's optimizations."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    input_types: tuple[str, ...]
    """Element types as NumPy names them, where ONNX Runtime tells: float, uint8, ..."""
    times_us: tuple[float, ...]
    """One per run; empty for a kernel that did not run."""


def trace_kernels(
    path: Path, feeds: Mapping[str, NDArray[Any]], provider: Provider, threads: int, runs: int
) -> tuple[KernelTrace, ...]:
    """Run a model with ONNX Runtime's profiler.

    Args:
        path: An ONNX file.
        feeds: One array per input.
        provider: Where it runs.
        threads: Threads within one operator.
        runs: How often.

    Returns:
        The kernels, in the order in which they run.

    Raises:
        OptimizerError: If it cannot be loaded, or cannot run on the feeds.
    """
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        options = native.session_options(threads, "ORT_ENABLE_ALL")
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        session = native.make_session(path, options, provider)
        with native.run_errors():
            for _ in range(runs):
                session.run(None, dict(feeds))
            events = json.loads(Path(session.end_profiling()).read_text())
        graph = onnx.load(Path(folder) / "optimized.onnx", load_external_data=False).graph
    return tuple(_traces(graph, events))


def _traces(graph: onnx.GraphProto, events: list[dict[str, Any]]) -> list[KernelTrace]:
    times: defaultdict[str, list[float]] = defaultdict(list)
    types: dict[str, tuple[str, ...]] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(_SUFFIX):
            key = name.removesuffix(_SUFFIX)
            times[key].append(float(event["dur"]))
            types[key] = tuple(kind for entry in event["args"].get("input_type_shape", ()) for kind in entry)
    shared = Counter(node.name for node in graph.node)
    return [
        KernelTrace(
            name=node.name,
            operator=node.op_type,
            inputs=tuple(node.input),
            outputs=tuple(node.output),
            input_types=types.get(node.name, ()),
            # Nodes that ONNX Runtime gave one name run as often as that: each has its part of the times.
            times_us=tuple(times[node.name][:: shared[node.name]]),
        )
        for node in graph.node
    ]
