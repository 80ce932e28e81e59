"""What other tools make of a file: onnxslim, onnxsim, and ONNX Runtime's optimizer for transformers.

Each works in a child process, which may crash or hang; what it wrote counts where it loads and computes what
the file computed.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path

import onnx
from benchmarks.rewrites.same_run import hash_as_run

from optimizer.evaluate import max_norm
from optimizer.graph.structure import all_nodes
from optimizer.graph.verify import Witness, witness
from optimizer.model import first_line
from optimizer.runtime import open_session, optimize_basic

TOLERANCE = 1e-3
"""Largest max-norm difference of an output: fused kernels and approximations round otherwise."""
TIMEOUT_S = 180
_RANDOM = ("Bernoulli", "Multinomial", "Random")


@dataclass(frozen=True)
class Made:
    """What a tool made."""

    words: str = ""
    """Why its file does not count."""
    run: str = ""
    """Hash of the graph that ONNX Runtime runs."""


def require() -> None:
    """End with words where a tool is not installed."""
    if find_spec("onnxsim") is None:
        sys.exit("This bench needs onnxsim: pip install -c constraints.txt -e '.[bench]'")


def _onnxslim(source: Path) -> onnx.ModelProto:
    import onnxslim

    slimmed: onnx.ModelProto = onnxslim.slim(str(source))
    return slimmed


def _onnxsim(source: Path) -> onnx.ModelProto:
    import onnxsim

    simplified: onnx.ModelProto = onnxsim.simplify(str(source))[0]
    return simplified


def _transformers(source: Path) -> onnx.ModelProto:
    """The basic optimizations, and fusions for BERT where a Softmax is inside the graph.

    The first of these are done here: the optimizer, which does the same, asks for PyTorch first.
    """
    from onnxruntime.transformers.optimizer import optimize_model

    proto = optimize_basic(onnx.load(str(source)))
    given = {value.name for value in proto.graph.output}
    attends = any(
        node.op_type == "Softmax" and node.output[0] not in given for node in all_nodes(proto.graph)
    )
    if attends:
        proto = optimize_model(proto, model_type="bert", opt_level=0).model
    return proto


TOOLS: dict[str, Callable[[Path], onnx.ModelProto]] = {
    "onnxslim": _onnxslim,
    "onnxsim": _onnxsim,
    "transformers": _transformers,
}


def expected_of(source: Path) -> Witness | None:
    """What a file computes; None where that is left to chance."""
    proto = onnx.load(str(source))
    if any(node.op_type.startswith(_RANDOM) for node in all_nodes(proto.graph)):
        return None
    return witness(proto)


def apply(tool: str, source: Path, target: Path, expected: Witness | None) -> Made:
    """Let a tool write its version of a file."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "onnxsim", "onnxslim", "onnxruntime.transformers.optimizer"])
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(theirs, tool, source, target, expected))
    child.start()
    theirs.close()
    try:
        if not ours.poll(TIMEOUT_S):
            return Made(f"took more than {TIMEOUT_S} s")
        made: Made = ours.recv()
        return made
    except EOFError:
        child.join()
        return Made(f"ended with exit code {child.exitcode}")
    finally:
        child.kill()
        child.join()


def _child(answer: Connection, tool: str, source: Path, target: Path, expected: Witness | None) -> None:
    try:
        onnx.save(TOOLS[tool](source), target)
        run = hash_as_run(target)
        answer.send(Made(_difference(target, expected), run))
    except Exception as error:  # third-party code on any graph: the row shows it
        answer.send(Made(f"{type(error).__name__}: {first_line(error)}"))


def _difference(target: Path, expected: Witness | None) -> str:
    if expected is None:
        return ""
    session = open_session(target)
    for feed, wanted in zip(expected.feeds, expected.outputs, strict=True):
        got = session.run(feed)
        for name, value in wanted.items():
            other = got.get(name)
            if other is None or other.dtype != value.dtype or other.shape != value.shape:
                return f"its output {name} has another form"
            same = max_norm(other, value) <= TOLERANCE if value.dtype.kind == "f" else (other == value).all()
            if not same:
                return f"its output {name} is another"
    return ""
