"""onnxruntime-extensions: the library of the custom operators that compute with texts.

It has operators that read files, too (ImageReader, BlingFireSentenceBreaker), so a model gets it only after
`scan` has found none but `TEXT_OPERATORS` in it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from optimizer.errors import UnsupportedModelError

DOMAIN = "ai.onnx.contrib"
"""The domain of its operators."""

PACKAGE = "onnxruntime-extensions"

TEXT_OPERATORS = frozenset({"StringJoin", "StringRegexReplace", "StringSplit"})
"""Those that a converted model may use: they compute in memory only."""


def note_custom_operators(operators: tuple[str, ...]) -> tuple[str, ...]:
    """What to say about a model that has some of them; nothing where it has none.

    >>> note_custom_operators(("StringSplit",))
    ('whoever runs the model needs onnxruntime-extensions, for its operators StringSplit',)
    """
    names = ", ".join(operators)
    return (f"whoever runs the model needs {PACKAGE}, for its operators {names}",) if operators else ()


def register(options: Any) -> None:
    """Let a session with these options know the operators.

    Raises:
        UnsupportedModelError: If the package is not installed.
    """
    options.register_custom_ops_library(library_path())


def library_path() -> str:
    """Where the library lies.

    Raises:
        UnsupportedModelError: If the package is not installed.
    """
    # The package imports these two, which crash where they are bound in its way.
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401

    try:
        with _own_symbols():
            import onnxruntime_extensions
    except ImportError as error:
        raise UnsupportedModelError(
            f"The model's text operators need the package {PACKAGE}, which is not installed here.",
            hint="pip install 'onnxpress[text]'",
        ) from error
    return str(onnxruntime_extensions.get_library_path())


@contextlib.contextmanager
def _own_symbols() -> Iterator[None]:
    """Let a library that is loaded now prefer its own symbols to those of libraries loaded before.

    TensorFlow offers its RE2 to the whole process, and the one in this library, compiled otherwise, silently
    matched other texts with parts of it.
    """
    flags = sys.getdlopenflags()
    sys.setdlopenflags(flags | getattr(os, "RTLD_DEEPBIND", 0))  # glibc alone has it
    try:
        yield
    finally:
        sys.setdlopenflags(flags)
