"""Turns calibration samples into the range of values that each activation takes."""

from optimizer.calibrate.ranges import Ranges, collect_ranges

__all__ = ["Ranges", "collect_ranges"]
