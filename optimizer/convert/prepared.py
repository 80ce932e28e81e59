"""What the steps of a conversion hand on: the upload as its runtime loads it, then what was made of it."""

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
    output_steps: Mapping[str, float] = field(default_factory=dict)
    """Output to its quantization step, in the output's own units."""
    notes: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    """Inputs in the order that they shall have; empty where the converter's order stands."""
    outputs: tuple[str, ...] = ()
    """The same of outputs."""
    layers: tuple[str, ...] = ()
    """The layers of a Keras model, which the user may name as outputs."""


@dataclass(frozen=True)
class Converted(Prepared):
    """The same upload, and what the model that was made of it shows."""

    half: bool = False
    """Whether it computes in float16 or bfloat16."""
    bfloat16: bool = False
    """Whether the upload computes in bfloat16, and the converted model in float32 instead."""
    sigmoids: frozenset[str] = frozenset()
    """Outputs that a Sigmoid computes."""
    words: tuple[str, ...] = ()
    """What its lookup tables know."""
    custom_operators: tuple[str, ...] = ()
    """Its operators of onnxruntime-extensions."""
