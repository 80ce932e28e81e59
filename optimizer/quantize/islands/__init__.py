"""Finds the float operators between integer ones, and writes them as operators with integer kernels."""

from optimizer.quantize.islands.close import Closed, close_islands
from optimizer.quantize.islands.find import find_islands

__all__ = ["Closed", "close_islands", "find_islands"]
