"""The main job on five real models and two that must be refused: `python tests/benchmarks/main_job.py`.

Prints one row per model. Models, samples and goal are fixed here; the machine is named on standard error.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from real_inputs import real_inputs, real_model
from uploads import lambda_h5

from optimizer import Data, Goal, OptimizerError, Outcome, Run, optimize
from optimizer.demo.digits import write_demo_data
from optimizer.package import table_rows

GOAL = Goal(threads=1, batch_size=1)


@dataclass(frozen=True)
class Case:
    """A model, and how many of its samples there are."""

    name: str
    samples: int
    """Calibration samples, a part of which is held back for judging."""


CASES = (
    Case("basic-pitch", 400),
    Case("fer", 100),
    Case("dgaintel", 2000),
    Case("magika", 600),
)
HEADER = (
    "| model | original | baseline | choice | size | against baseline | quality | verdict | measured |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    """Run every case in turn, and print its row as soon as it is there."""
    wanted = set(sys.argv[1:])
    print(HEADER, flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        demo = write_demo_data(folder / "demo")
        if not wanted or "demo" in wanted:
            report("demo", demo.model, Data(calibration=demo.calibration, evaluation=demo.evaluation), folder)
        for case in CASES:
            if not wanted or case.name in wanted:
                report(case.name, real_model(case.name), make_data(case, folder), folder)
        for name, path in (("guesslang", real_model("guesslang")), ("Lambda .h5", lambda_h5(folder))):
            if not wanted or name in wanted:
                report(name, path, Data(), folder)


def make_data(case: Case, folder: Path) -> Data:
    """Write a model's samples as one calibration file."""
    inputs = real_inputs(case.name, case.samples)
    if inputs is None:
        sys.exit(f"{case.name} needs a word list: apt-get install wamerican")
    path = folder / f"{case.name}.npz"
    np.savez(path, **inputs)  # type: ignore[arg-type]  # NumPy takes arrays by any name
    return Data(calibration=path)


def report(name: str, model: Path, data: Data, folder: Path) -> None:
    """Optimize one model and print its row, or why it was refused."""
    try:
        outcome = optimize(model, folder / f"{name}-out", data, GOAL, Run())
    except OptimizerError as error:
        reason = error.message.replace("\n", " ")
        print(f"| {name} | {type(error).__name__}: {reason} | | | | | | | |", flush=True)
        return
    if name == "demo":
        isa = " ".join(outcome.machine.isa)
        print(f"{outcome.machine.cpu}, {isa}, {datetime.now(UTC):%Y-%m-%d}", file=sys.stderr)
    print(row(name, outcome), flush=True)


def row(name: str, outcome: Outcome) -> str:
    """One model's row: what came in, what goes out, and the candidates that were measured."""
    rows = table_rows(outcome)
    chosen = next(row for row in rows if row.mark)
    original = next((row for row in rows if row.kind == "original"), None)
    baseline = next(row for row in rows if row.name == "baseline")
    measured = [row for row in rows if row.kind == "candidate" and row.latency_ms is not None]
    others = ", ".join(f"{row.name} {row.ratio.split()[0]}" for row in measured)
    cells = (
        name,
        f"{original.latency} ({original.ratio})" if original else "-",
        f"{baseline.latency}, {baseline.size}",
        chosen.name,
        chosen.size,
        chosen.ratio,
        chosen.quality if chosen.kind == "baseline" else f"{chosen.quality}; loses {chosen.loss}",
        chosen.verdict,
        others,
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
