"""What the loaders of all formats hand on: the upload in the form that its own runtime loads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from optimizer.results import Runtime

Rounding = Literal["none", "static", "dynamic"]
"""How the upload itself rounds: not at all, onto fixed integer scales, or onto scales taken at each call
(or fixed ones that the converted model does without)."""


@dataclass(frozen=True)
class Prepared:
    """An upload that stands in `Workspace.original`, and what its loader learned about it."""

    runtime: Runtime
    signature: str = ""
    """The signature that is converted; empty where the upload has none."""
    producer: str = ""
    """What wrote the file, where it says so."""
    rounding: Rounding = "none"
    half: bool = False
    """Whether it computes in float16 or bfloat16."""
    bfloat16: bool = False
    """Whether the upload computes in bfloat16, and the converted model in float32 instead."""
    sigmoids: frozenset[str] = frozenset()
    """Outputs that a Sigmoid computes."""
    output_steps: Mapping[str, float] = field(default_factory=dict)
    """Output to its quantization step, in the output's own units."""
    notes: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    """Outputs in the order that they shall have; empty where the converter's order stands."""
    layers: tuple[str, ...] = ()
    """The layers of a Keras model, which the user may name as outputs."""
    words: tuple[str, ...] = ()
    """What the lookup tables of the converted model know."""
    custom_operators: tuple[str, ...] = ()
    """Operators of onnxruntime-extensions in the converted model."""
