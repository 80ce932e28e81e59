"""Training as a program of its own: `python -P -m optimizer.demo.training`, the request on standard input."""

from __future__ import annotations

import sys

from optimizer.isolation import Reporter, serve_stage
from optimizer.workspace import StageRequest

TRAINED = "trained.keras"
"""The file in the workspace that the training writes."""


def run(request: StageRequest, reporter: Reporter) -> None:
    """Train the demo's model."""
    reporter.progress(0.0, "loading TensorFlow")
    from optimizer.demo.train import train_demo

    train_demo(request.workspace / TRAINED, lambda done: reporter.progress(done, "10 epochs"))


if __name__ == "__main__":
    sys.exit(serve_stage(run))
