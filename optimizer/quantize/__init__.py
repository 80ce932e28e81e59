"""Turns a float model into one with INT8 or FP16 weights and activations."""

from optimizer.quantize.dynamic import quantize_dynamic
from optimizer.quantize.half import convert_half
from optimizer.quantize.static import quantize_static

__all__ = ["convert_half", "quantize_dynamic", "quantize_static"]
