"""Plain tf2onnx, with none of our converters, in a process that imports them later on."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any


def registered() -> Any:
    """A copy of tf2onnx's table of converters, to be taken before ours are imported."""
    from tf2onnx import tfonnx  # noqa: F401  # importing it fills the table
    from tf2onnx.handler import tf_op

    return OrderedDict((domain, [dict(found) for found in tf_op._OPSETS[domain]]) for domain in tf_op._OPSETS)


@contextlib.contextmanager
def only(theirs: Any) -> Iterator[None]:
    """Let tf2onnx see these converters alone."""
    from tf2onnx.handler import tf_op

    all_of_them = tf_op._OPSETS
    tf_op._OPSETS = theirs
    try:
        yield
    finally:
        tf_op._OPSETS = all_of_them
