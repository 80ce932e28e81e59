"""Turns a graph into a smaller one that computes the same, and counts what a graph holds."""

from optimizer.graph.count import count
from optimizer.graph.narrow_weights import with_float_weights
from optimizer.graph.simplify import simplify

__all__ = ["count", "simplify", "with_float_weights"]
