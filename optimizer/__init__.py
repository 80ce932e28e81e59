"""Turns a trained model into a smaller or faster ONNX model, with measured proof."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optimizer.errors import OptimizerError as OptimizerError
    from optimizer.goal import Goal as Goal
    from optimizer.pipeline import Data as Data
    from optimizer.pipeline import Run as Run
    from optimizer.pipeline import benchmark_models as benchmark_models
    from optimizer.pipeline import convert_to_onnx as convert_to_onnx
    from optimizer.pipeline import inspect_model as inspect_model
    from optimizer.pipeline import optimize as optimize
    from optimizer.results import Outcome as Outcome

# Loaded when first used (PEP 562): importing the package costs nothing.
_HOMES = {
    "Data": "pipeline",
    "Goal": "goal",
    "OptimizerError": "errors",
    "Outcome": "results",
    "Run": "pipeline",
    "benchmark_models": "pipeline",
    "convert_to_onnx": "pipeline",
    "inspect_model": "pipeline",
    "optimize": "pipeline",
}

__all__ = [
    "Data",
    "Goal",
    "OptimizerError",
    "Outcome",
    "Run",
    "benchmark_models",
    "convert_to_onnx",
    "inspect_model",
    "optimize",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"optimizer.{_HOMES[name]}"), name)
