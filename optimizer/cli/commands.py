"""The commands. Each calls one function of the library; exit codes stand in EXIT_CODES."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from optimizer import pipeline
from optimizer.cli import terminal
from optimizer.cli.goal_options import with_goal
from optimizer.errors import OptimizerError
from optimizer.goal import Goal
from optimizer.isolation import Limits, StageCancelledError, sandbox_status
from optimizer.options import Options

EXIT_CODES = {
    "ToolError": 1,
    "InvalidOptionsError": 2,
    "InvalidModelError": 3,
    "UnsupportedModelError": 4,
    "UnsafeModelError": 5,
    "InvalidDataError": 6,
    "UnavailableProviderError": 7,
    "ResourceLimitError": 8,
}
CANCELLED = 130
EPILOG = (
    "Exit codes: 0 the result is there; "
    + ", ".join(f"{code} {kind}" for kind, code in EXIT_CODES.items())
    + f", {CANCELLED} cancelled."
)
FORMATS = (
    "SavedModel (folder, .zip, .tar.gz), .keras, .h5 or .hdf5 of Keras 3 or 2, TFLite, frozen graph (.pb, "
    ".pbtxt), TensorFlow 1 checkpoint (folder or archive with its .meta), or ONNX (a folder or zip where its "
    "weights lie in files of their own)."
)

app = typer.Typer(
    rich_markup_mode=None,  # rich's tables cut the names of options at 80 columns
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog=EPILOG,
)


@app.callback()
def main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """Make a trained TensorFlow model small and fast as ONNX, with measured proof."""
    if version:
        terminal.say(f"onnxpress {metadata.version('onnxpress')}, sandbox {sandbox_status().kind}")
        raise typer.Exit


Model = Annotated[Path, typer.Argument(help=FORMATS)]
Output = Annotated[Path, typer.Option("--output", "-o", help="New folder for the result.")]
Calibration = Annotated[
    Path | None, typer.Option(help="Samples for statistics: .npz, or a folder or zip of such files.")
]
Evaluation = Annotated[Path | None, typer.Option(help="Samples for judging, best with labels.")]
Work = Annotated[
    Path | None, typer.Option(help="Folder to keep the stages in; the same command resumes there.")
]
MemoryLimit = Annotated[float, typer.Option(min=0.1, help="GiB of memory that one stage may use.")]
TimeLimit = Annotated[float, typer.Option(min=1.0, help="Seconds that one stage may take.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")]
GoalMaker = Callable[[], Goal]
MEMORY_GIB = Limits().memory_bytes / 2**30
TIME_S = Limits().time_s


@app.command(epilog=EPILOG)
@with_goal()
def optimize(  # noqa: PLR0913  # one per option of the command line
    goal: GoalMaker,
    model: Model,
    output: Output = Path("out"),
    calibration: Calibration = None,
    evaluation: Evaluation = None,
    work: Work = None,
    memory_limit_gib: MemoryLimit = MEMORY_GIB,
    time_limit_s: TimeLimit = TIME_S,
    as_json: AsJson = False,
) -> None:
    """Make a model smaller or faster, prove it, and write the result to a folder."""
    data = pipeline.Data(calibration=calibration, evaluation=evaluation)
    limits = make_limits(memory_limit_gib, time_limit_s)
    with running(as_json=as_json, limits=limits, work=work) as run:
        outcome = pipeline.optimize(model, output, data, goal(), run)
    if as_json:
        print_json(outcome)
    else:
        terminal.show_outcome(outcome)
        terminal.show_written(output, "model.onnx, manifest.json, example.py, report.html")


@app.command(epilog=EPILOG)
@with_goal("signature", "outputs", "opset", "fixed_shapes", "onnxruntime_extensions")
def convert(  # noqa: PLR0913  # one per option of the command line
    goal: GoalMaker,
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .onnx file to write, or to replace.")],
    samples: Annotated[Path | None, typer.Option(help="Samples to compare on; else made up.")] = None,
    simplify: Annotated[
        bool,
        typer.Option(help="Rewrite the graph at no loss, with proof; or leave it as the converter wrote it."),
    ] = True,
    memory_limit_gib: MemoryLimit = MEMORY_GIB,
    time_limit_s: TimeLimit = TIME_S,
    as_json: AsJson = False,
) -> None:
    """Convert a model to ONNX, rewrite it at no loss, and prove that all give the same outputs."""
    with running(as_json=as_json, limits=make_limits(memory_limit_gib, time_limit_s)) as run:
        data = pipeline.Data(calibration=samples)
        result = pipeline.convert_to_onnx(model, output, data, goal(), run, simplify=simplify)
    if as_json:
        print_json(result)
    else:
        terminal.show_conversion(result)
        terminal.show_written(output)


@app.command(epilog=EPILOG)
@with_goal("provider", "threads", "batch_size", "onnxruntime_extensions")
def benchmark(
    goal: GoalMaker,
    models: Annotated[list[Path], typer.Argument(help="ONNX files; each is compared with the first.")],
    as_json: AsJson = False,
) -> None:
    """Time ONNX models, interleaved, in fresh processes."""
    with running(as_json=as_json) as run:
        measurements = pipeline.benchmark_models(models, goal(), run)
    if as_json:
        print_json(measurements)
    else:
        terminal.show_measurements(measurements)


@app.command(epilog=EPILOG)
@with_goal("signature", "outputs", "opset", "fixed_shapes", "threads", "batch_size", "onnxruntime_extensions")
def inspect(
    goal: GoalMaker,
    model: Model,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile",
            help="Measure on the CPU the time per operator and layer, before and after rewriting.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what a model is, what its graph holds, what rewriting does, and how to write samples for it."""
    with running(as_json=as_json) as run:
        inspection = pipeline.inspect_model(model, goal(), run, profile=profile)
    if as_json:
        print_json(inspection)
    else:
        terminal.show_inspection(inspection)


@app.command(epilog=EPILOG)
def demo(
    output: Output = Path("demo-out"),
    train: Annotated[bool, typer.Option("--train", help="Train the demo's model anew first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the main job on a small trained digit classifier."""
    from optimizer.demo.run import run_demo

    with running(as_json=as_json) as run:
        outcome = run_demo(output, run, train=train)
    if as_json:
        print_json(outcome)
    else:
        terminal.show_outcome(outcome)
        terminal.show_written(output, "report.html is the whole report")


@contextmanager
def running(
    *, as_json: bool, limits: Limits | None = None, work: Path | None = None
) -> Iterator[pipeline.Run]:
    """Show progress, turn Ctrl-C and SIGTERM into a clean end, and errors into exit codes."""
    cancel = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        cancel.set()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with errors_shown(as_json=as_json), terminal.progress_bar(quiet=as_json) as on_event:
            yield pipeline.Run(on_event, cancel, limits or Limits(), work)
    except StageCancelledError as error:
        kept = f"; {work} holds what is finished, the same command goes on there" if work else ""
        terminal.say(f"Cancelled: no result was written{kept}.", terminal.stderr)
        raise typer.Exit(CANCELLED) from error
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def errors_shown(*, as_json: bool = False) -> Iterator[None]:
    """Turn an error into words or JSON, and into its exit code."""
    try:
        yield
    except OptimizerError as error:
        if as_json:
            sys.stdout.write(json.dumps({"error": error.to_problem()}) + "\n")
        else:
            terminal.show_error(error)
        raise typer.Exit(EXIT_CODES[error.kind]) from error


def make_limits(memory_gib: float, time_s: float) -> Limits:
    """What one stage may use, from the command line's units."""
    return Limits(memory_bytes=int(memory_gib * 2**30), time_s=time_s)


def print_json(result: Options) -> None:
    """Print a result as one JSON document."""
    sys.stdout.write(result.model_dump_json(indent=1) + "\n")
