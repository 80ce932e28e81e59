"""How long each operator of a model takes: what a profile found of a file, before and after rewriting."""

from __future__ import annotations

from optimizer.options import Options


class NodeTime(Options):
    """One node, as ONNX Runtime runs it."""

    node: str
    """Its name. ONNX Runtime's own fusions keep the name of a node or value that they took in, mostly."""
    op_type: str
    """Its operator; one of ONNX Runtime's own after a fusion."""
    calls: float
    """How often it runs in one run of the model: the steps of a loop, for a node of its body."""
    time_ms: float
    """In one run of the model, all its calls together, without what runs inside it as a body."""


class OperatorTimes(Options):
    """Where the time of one file goes."""

    latency_ms: float
    """One run without the profiler: the mean of the middle half of the runs."""
    profiler_ms: float
    """What the profiler itself cost in one run; it is not part of any figure here."""
    nodes: tuple[NodeTime, ...]
    """In the order in which they run first."""

    def by_operator(self) -> dict[str, float]:
        """Time per operator type in ms, the longest first."""
        times: dict[str, float] = {}
        for one in self.nodes:
            times[one.op_type] = times.get(one.op_type, 0.0) + one.time_ms
        return dict(sorted(times.items(), key=lambda item: (-item[1], item[0])))
