"""Names the library in whose native code a child crashed, from the Python stack that faulthandler logs."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

CRASHES = frozenset({signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV})
_STACK = "(most recent call first):"
_FRAME = re.compile(r'^  File "([^"]*)", line \d+ in ', re.MULTILINE)


@dataclass(frozen=True)
class Library:
    """A library that runs models in native code."""

    name: str
    hint: str
    """What to do when it crashes."""
    files: str
    """A part of the paths of its Python files."""


_LIBRARIES = (  # the first that a frame's path fits
    Library(
        "TFLite's interpreter",
        "The interpreter cannot run this file. Where its inputs have free sizes, made-up ones may be too "
        "small for it: give real inputs (--samples). Convert the model to TFLite again with a current "
        "TensorFlow, or hand in the model that it was made from (SavedModel, .keras).",
        "/lite/python/interpreter.py",
    ),
    Library(
        "TensorFlow",
        "TensorFlow cannot run this file. Save the model again with a current TensorFlow.",
        "/tensorflow/",
    ),
    Library(
        "ONNX Runtime",
        "ONNX Runtime cannot run this model. Try it with another version of ONNX Runtime.",
        "/onnxruntime/",
    ),
)


def crashed_in(log: str) -> Library | None:
    """The library of the innermost frame that belongs to one; None where the log does not say.

    >>> crashed_in('''Fatal Python error: Segmentation fault
    ...
    ... Current thread 0x00007f (most recent call first):
    ...   File "/lib/onnxruntime/capi/session.py", line 7 in run
    ... ''').name
    'ONNX Runtime'
    """
    frames = _FRAME.findall(log.rpartition(_STACK)[2]) if _STACK in log else []
    return next((library for path in frames for library in _LIBRARIES if library.files in path), None)
