"""Which operator a TFLite operator code stands for."""

from __future__ import annotations

from typing import Any


def builtin_code(code: Any) -> int:
    """The number of an unpacked code; files from before 2020 have it in the deprecated byte alone."""
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))
