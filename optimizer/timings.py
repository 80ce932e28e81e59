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
    input_types: tuple[str, ...] = ()
    """Element types of the tensors that it reads, as ONNX Runtime names them: float, uint8, ..."""
    inputs: tuple[str, ...] = ()
    """Names of the values that it reads, where asked for, and of a node of the main graph alone."""
    outputs: tuple[str, ...] = ()
    """Names of the values that it writes, likewise."""


class OperatorTimes(Options):
    """Where the time of one file goes."""

    latency_ms: float
    """One run without the profiler: the mean of the middle half of the runs."""
    profiler_ms: float
    """What the profiler itself cost in one run; it is not part of any figure here."""
    nodes: tuple[NodeTime, ...]
    """In the order in which they run first; connected ones in the order of their graph."""

    def by_operator(self) -> dict[str, float]:
        """Time per operator type in ms, the longest first."""
        times: dict[str, float] = {}
        for one in self.nodes:
            times[one.op_type] = times.get(one.op_type, 0.0) + one.time_ms
        return dict(sorted(times.items(), key=lambda item: (-item[1], item[0])))


class TimeRow(Options):
    """One operator type, one layer, or the layers of one rewrite: before and after rewriting."""

    name: str
    nodes_before: int
    """Nodes that ONNX Runtime runs, after its own fusions, those in bodies of loops once."""
    before_ms: float
    """Time in one run of the model."""
    nodes_after: int
    after_ms: float


class Profile(Options):
    """Where the time of a model goes, before and after rewriting; each table is ordered by the time before.

    A kernel that does the work of several nodes counts for one of them, mostly the last.
    """

    before_ms: float
    """One run of the model as it was converted or uploaded, without the profiler."""
    after_ms: float
    """One run of the rewritten model. Both took no turns: the gain is measured apart from this."""
    operators: tuple[TimeRow, ...]
    """By operator type; some are ONNX Runtime's own."""
    layers: tuple[TimeRow, ...]
    """By layer of the model: the folders of the names of its nodes."""
    rewrites: tuple[TimeRow, ...] = ()
    """By rewrite, all layers that it touched; a layer that several rewrites touched counts for each."""


class FloatIsland(Options):
    """Float operators between integer kernels of a quantized model, conversions there and back included."""

    operators: tuple[str, ...]
    """Operator and name of each; empty where there is nothing but a conversion."""
    time_ms: float
    share: float
    """Of the time of all kernels, 0 to 1."""
