"""Which sandbox the stages of this machine get: bubblewrap where it works, else Landlock, else none."""

from __future__ import annotations

import os
import sys
from typing import Literal

from optimizer.errors import InvalidOptionsError
from optimizer.isolation.bubblewrap import why_no_bubblewrap
from optimizer.isolation.landlock import landlock_abi, uncovered, why_no_landlock
from optimizer.options import Options

SANDBOX_VARIABLE = "ONNXPRESS_SANDBOX"
"""Environment variable that asks for one of the two by name: `bubblewrap` or `landlock`."""

_CHOICES = ("bubblewrap", "landlock")


class SandboxStatus(Options):
    """Which sandbox the stages of this machine run in."""

    kind: Literal["bubblewrap", "landlock", "none"]
    abi: int = 0
    """Landlock's version in this kernel; inside bubblewrap it is a second wall."""
    reason: str = ""
    """What is not covered, and why; empty when all is."""


def sandbox_status() -> SandboxStatus:
    """Which sandbox a stage gets here; bubblewrap is tried once, nothing is changed.

    Raises:
        InvalidOptionsError: If `ONNXPRESS_SANDBOX` asks for another, or for one that does not work here.
    """
    asked = os.environ.get(SANDBOX_VARIABLE, "")
    if asked and asked not in _CHOICES:
        raise InvalidOptionsError(
            f"{SANDBOX_VARIABLE} is {asked!r}.", hint=f"Set it to {' or '.join(_CHOICES)}, or not at all."
        )
    if asked != "landlock" and not why_no_bubblewrap():
        return SandboxStatus(kind="bubblewrap", abi=landlock_abi())
    if asked == "bubblewrap":
        raise InvalidOptionsError(
            f"{SANDBOX_VARIABLE} asks for bubblewrap, but {why_no_bubblewrap()}.",
            hint=f"Install bubblewrap and allow user namespaces, or unset {SANDBOX_VARIABLE}.",
        )
    if landlock_abi() >= 1:
        return SandboxStatus(kind="landlock", abi=landlock_abi(), reason=uncovered())
    if not sys.platform.startswith("linux"):
        return SandboxStatus(kind="none", reason=why_no_landlock())
    return SandboxStatus(kind="none", reason=f"{why_no_landlock()}, and {why_no_bubblewrap()}")
