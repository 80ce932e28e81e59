"""Turns ONNX files into runs: the only place that makes ONNX Runtime sessions and sees its exceptions.

ONNX Runtime falls back to the CPU without an exception when a provider cannot start, so each session
compares `get_providers()[0]` with what was asked for.
"""

from optimizer.runtime.native import PROVIDERS, error_text, runtime_version
from optimizer.runtime.offline import optimize_basic
from optimizer.runtime.opsets import newest_opset
from optimizer.runtime.probe import usable_providers
from optimizer.runtime.profile import KernelCall, profile_runs
from optimizer.runtime.session import BoundRun, Session, fixed_batch_of, open_mapped, open_session

__all__ = [
    "PROVIDERS",
    "BoundRun",
    "KernelCall",
    "Session",
    "error_text",
    "fixed_batch_of",
    "newest_opset",
    "open_mapped",
    "open_session",
    "optimize_basic",
    "profile_runs",
    "runtime_version",
    "usable_providers",
]
