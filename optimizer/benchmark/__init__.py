"""Turns ONNX files into measured rows: latency, ratio with interval, placement, and the machine."""

from optimizer.benchmark.compare import LaunchTimes, compare, interval_of, log_ratio
from optimizer.benchmark.launch import LaunchRequest, launch_feeds, time_blocks, time_launch
from optimizer.benchmark.machine import (
    describe_machine,
    instruction_sets,
    target_cpu_of,
    usable_cores,
    usable_memory_bytes,
)
from optimizer.benchmark.measure import (
    SCREENING_LAUNCHES,
    WINNER_LAUNCHES,
    Launch,
    MeasureSettings,
    measure_alone,
    measure_both,
    measure_original,
    measure_pair,
)
from optimizer.benchmark.operators import Kernel, OperatorTimes, time_operators

__all__ = [
    "SCREENING_LAUNCHES",
    "WINNER_LAUNCHES",
    "Kernel",
    "Launch",
    "LaunchRequest",
    "LaunchTimes",
    "MeasureSettings",
    "OperatorTimes",
    "compare",
    "describe_machine",
    "instruction_sets",
    "interval_of",
    "launch_feeds",
    "log_ratio",
    "measure_alone",
    "measure_both",
    "measure_original",
    "measure_pair",
    "target_cpu_of",
    "time_blocks",
    "time_launch",
    "time_operators",
    "usable_cores",
    "usable_memory_bytes",
]
