"""ONNX Runtime itself: its import, its session options, and its exceptions as ours."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Iterator
from typing import Any

from optimizer.errors import (
    InvalidDataError,
    InvalidModelError,
    OptimizerError,
    ToolError,
    UnsupportedModelError,
)
from optimizer.goal import Provider
from optimizer.model import first_line
from optimizer.runtime import extensions

PROVIDERS: dict[Provider, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""Our names of the execution providers to ONNX Runtime's."""

_INVALID = {"InvalidProtobuf", "InvalidGraph", "NoSuchFile", "NoModel"}
_UNKNOWN_OPERATOR = ("is not a registered function/op", "opset")

_DEVICE_FAILURE = re.compile(r"\b(CUDA|CUDNN|CUBLAS|CUFFT|CURAND)(_STATUS|_ERROR)?\w* (failure|error)\b")
# Out of device memory, say: no fault of the model.

_NOISE = (
    (r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", ""),
    (
        r"^Non-zero status code returned while running (\w+) node\. Name:'(.*?)' Status Message: ",
        r"\1 (node \2): ",
    ),
    (r"/onnxruntime_src/\S+:\d+ (.*? was false\. ?)?", ""),
)


@functools.cache
def onnxruntime() -> Any:
    """Import ONNX Runtime and keep it quiet."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read at the import; on by default since 1.31
    import onnxruntime

    # What matters reaches us as an exception or in get_providers(); its stderr lines are for nobody.
    onnxruntime.set_default_logger_severity(4)
    return onnxruntime


def runtime_version() -> str:
    """ONNX Runtime's version."""
    return str(onnxruntime().__version__)


def session_options(threads: int, level: str) -> Any:
    """Options of a session.

    Args:
        threads: Threads within one operator. Operators run one after another.
        level: Name of the graph optimization level: ORT_ENABLE_ALL, ORT_ENABLE_BASIC.
    """
    options = onnxruntime().SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = getattr(onnxruntime().GraphOptimizationLevel, level)
    options.log_severity_level = 4
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


def make_session(model: Any, options: Any, provider: Provider) -> Any:
    """Make ONNX Runtime's own session; it may have fallen back to another provider.

    Args:
        model: A path, or a serialized model.
        options: From `session_options`.
        provider: Where it is to run.

    Raises:
        InvalidModelError: If it is no valid model.
        UnsupportedModelError: If an operator is unknown or has no kernel, or its library is not installed.
        ToolError: If ONNX Runtime fails otherwise.
    """
    name = "The model" if isinstance(model, bytes) else model.name
    try:
        return _make_session(model, options, provider)
    except OptimizerError:
        raise
    except Exception as error:  # ONNX Runtime's exceptions share no base of their own
        raise _load_error(error, name, provider) from error


def _make_session(model: Any, options: Any, provider: Provider) -> Any:
    source = model if isinstance(model, bytes) else str(model)
    # enable_fallback=0: else a failing provider is replaced with a banner on stdout.
    settings = {"providers": [PROVIDERS[provider]], "enable_fallback": 0}
    try:
        return onnxruntime().InferenceSession(source, options, **settings)
    except Exception as error:
        if f"{extensions.DOMAIN}:" not in str(error):
            raise
    # The model uses operators of that domain: only then is its library loaded.
    extensions.register(options)
    return onnxruntime().InferenceSession(source, options, **settings)


@contextlib.contextmanager
def run_errors() -> Iterator[None]:
    """Turn what a run raises into our errors."""
    try:
        yield
    except Exception as error:  # as above
        raise run_error(error) from error


def run_error(error: Exception) -> OptimizerError:
    """What a run raised, as an error of ours."""
    if type(error).__name__ == "InvalidArgument":
        return InvalidDataError(
            f"The model cannot run on these inputs: {error_text(error)}.",
            hint="`onnxpress inspect` prints the line that writes samples.",
        )
    return ToolError(
        f"ONNX Runtime failed while running the model: {error_text(error)}.",
        hint="Check that the inputs' sizes go together; else use a smaller batch size, or provider cpu.",
    )


def _load_error(error: Exception, name: str, provider: Provider) -> OptimizerError:
    kind, text = type(error).__name__, error_text(error)
    if kind == "NotImplemented" or any(mark in text for mark in _UNKNOWN_OPERATOR):
        return UnsupportedModelError(
            f"{name} cannot run on {provider}: {text}.",
            hint="Export the model without this operator, or with another data type or opset.",
        )
    broken = kind in _INVALID or (kind in {"Fail", "InvalidArgument"} and not _DEVICE_FAILURE.search(text))
    if broken:
        return InvalidModelError(
            f"{name} is not a valid ONNX model: {text}.",
            hint="Export the model again, or check that the download is complete.",
        )
    return ToolError(
        f"ONNX Runtime failed to load {name} on {provider}: {text}.",
        hint="Check that memory is free on the device, or use provider cpu.",
    )


def error_text(error: BaseException) -> str:
    """The first line of what ONNX Runtime raised, without its code and the places in its source.

    >>> place = "Non-zero status code returned while running Gather node. Name:'g' Status Message: "
    >>> check = "/onnxruntime_src/a.h:91 ns::f(int) x == y was false. "
    >>> error_text(ValueError(f"[ONNXRuntimeError] : 1 : FAIL : {place}{check}Too far"))
    'Gather (node g): Too far'
    """
    text = str(error)
    for noise, kept in _NOISE:
        text = re.sub(noise, kept, text)
    return first_line(text)
