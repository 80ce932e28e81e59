"""Names the operators that make a model answer otherwise from call to call, which no conversion can do."""

from __future__ import annotations

import re
from pathlib import Path

from optimizer.convert.triage.unconvertible import Fault, read_wiring, unconvertible
from optimizer.convert.triage.wiring import Node, Wiring
from optimizer.errors import UnsupportedModelError

_RANDOM = re.compile(
    r"Random|TruncatedNormal|Multinomial|ParameterizedTruncatedNormal|RngReadAndSkip"
    r"|Stateful(Random|Uniform|StandardNormal|TruncatedNormal)"
)
_WRITES = re.compile(r"Assign|Resource(Scatter|StridedSliceAssign)")
_CALL = re.compile(r"\w*PartitionedCall\w*/")


def find_effects(folder: Path, signature: str) -> UnsupportedModelError | None:
    """The error about operators of a signature that draw random numbers or write variables, if any do.

    Args:
        folder: A SavedModel's folder.
        signature: One of its signatures.
    """
    wiring = read_wiring(folder, signature)
    calls = {found[0] for name in wiring.needed if (found := _CALL.match(name))}
    faults = [
        Fault(node.operator, node.name, reason)
        for node in wiring.nodes.values()
        if (reason := _effect(node, wiring, calls))
    ]
    return unconvertible(faults, wiring) if faults else None


def _effect(node: Node, wiring: Wiring, calls: set[str]) -> str:
    if node.name in wiring.needed and _RANDOM.match(node.operator):
        return "it draws other numbers at each call"
    # Not those that load the model or train it, which stand in calls of their own.
    is_called = any(node.name.startswith(call) for call in calls)
    if not is_called or not _WRITES.match(node.operator) or not node.inputs:
        return ""
    # Nor those whose variable no output depends on: Keras counts the masks that dropout draws, used or not.
    readers = wiring.consumers.get(node.inputs[0], ())
    is_read = any(reader.name in wiring.needed and reader != node for reader in readers)
    return "the next call reads what it writes" if is_read else ""
