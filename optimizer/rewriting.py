"""What rewriting did to a model: where it was applied, and what it recognized but left."""

from __future__ import annotations

from optimizer.options import Options


class AppliedRewrite(Options):
    """One exact rewrite, with every place where it was applied."""

    name: str
    """fuse_gelu, ..."""
    words: str
    """The same in plain words."""
    count: int
    """How many times it was applied."""
    layers: tuple[str, ...] = ()
    """The layers of the model that it touched, as the model names them."""


class LeftNode(Options):
    """A node that a rewrite recognized, but left as it is."""

    node: str
    layer: str
    """As the model names it."""
    rewrite: str
    """The name of the rewrite."""
    words: str
    """The same in plain words."""
    reason: str
    """Why it was left."""


class Counts(Options):
    """What a graph holds."""

    nodes: int
    operators: dict[str, int]
    parameters: int
    macs: int | None
    """Multiply-accumulates per item; None where a shape is unknown."""
    file_bytes: int


class Simplification(Options):
    """What the lossless step changed."""

    before: Counts
    after: Counts
    max_relative_difference: float
    """Max-norm difference of the outputs before and after, on generated inputs and the user's."""
    rewrites: tuple[AppliedRewrite, ...] = ()
    """What was rewritten, how often, and in which layers."""
    left: tuple[LeftNode, ...] = ()
    """What a rewrite recognized but left, and why."""
    changes: tuple[str, ...] = ()
    """What changed beside the rewrites, in words."""
    refusals: tuple[str, ...] = ()
    made_up_scale: int = 1
    """Times the usual size of made-up inputs, where the model's layers take none that are smaller."""
