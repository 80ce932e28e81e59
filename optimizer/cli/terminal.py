"""What the user sees: progress while stages run, a table of results, an error with its hint."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from optimizer.errors import OptimizerError
from optimizer.isolation import StageEvent, lock_path, printable
from optimizer.package import (
    gain_words,
    left_sentences,
    ratio_words,
    rewrite_sentences,
    table_rows,
    time_table,
)
from optimizer.results import Conversion, Inspection, Measurements, Outcome, Rewritten, TensorSpec
from optimizer.rewriting import Simplification

# Progress and errors go to stderr, so that stdout holds the result alone.
# A pipe or a log has no width of its own: take one that the table fits in.
stdout, stderr = Console(width=None if sys.stdout.isatty() else 150), Console(stderr=True)


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Callable[[StageEvent], None]]:
    """Show the stage that runs; yields the listener for `Run.on_event`."""
    # No markup: a message may quote a stranger's file.
    text = TextColumn("{task.description}", markup=False)
    columns = (SpinnerColumn(), text, BarColumn(), TimeElapsedColumn())
    told: set[str] = set()
    with Progress(*columns, console=stderr, transient=True, disable=quiet) as progress:
        task = progress.add_task("starting", total=1.0)

        def on_event(event: StageEvent) -> None:
            description = f"{event.stage}: {event.message}" if event.message else event.stage
            progress.update(task, description=description, completed=event.fraction or 0.0)
            if event.notice and event.message not in told:
                told.add(event.message)
                say(f"Warning: {event.message}", stderr)
            if event.waits and not stderr.is_terminal and event.message not in told:
                told.add(event.message)  # where no bar shows, a wait looks like a hang
                say(f"{event.stage}: {event.message} (the machine's lock is {lock_path()})", stderr)

        yield on_event


def say(text: str, console: Console = stdout, style: str = "") -> None:
    """Print a line. Names come from a stranger's file: neither markup nor the terminal obeys them."""
    console.print(printable(text), style=style, markup=False, highlight=False)


def show_error(error: OptimizerError) -> None:
    """Print what is wrong and what to do."""
    say(f"Error: {error.message}", stderr, style="bold red")
    if error.hint:
        say(error.hint, stderr)


def show_outcome(outcome: Outcome) -> None:
    """Print the table of an optimization, the choice and its reasons."""
    table = results_table("model", "size", "latency", "against baseline", "quality", "verdict")
    for row in table_rows(outcome):
        # Scores of the choice and of the others come from different samples; losses compare.
        quality = f"{row.quality}\nloss {row.loss}" if any(map(str.isdigit, row.loss)) else row.quality
        cells = (f"{row.mark or ' '} {row.name}", row.size, row.latency, row.ratio, quality, row.verdict)
        table.add_row(*map(cell, cells), style="bold" if row.mark else "")
    machine, goal = outcome.machine, outcome.goal
    settings = f"{goal.provider}, threads {goal.threads}, batch {goal.batch_size}"
    say(f"{outcome.upload} on {machine.cpu}, {settings}, sandbox {machine.sandbox or 'unknown'}")
    stdout.print(table)
    say("A ratio compares both models in turns within each launch: it is no quotient of two latencies here.")
    for reason in outcome.confirmation.chosen.reasons:
        say(reason)
    for notice in (*outcome.notices, *outcome.confirmation.chosen.unlock):
        say(f"- {notice}")


def cell(text: str) -> Text:
    """Text for a table, as `say` prints it."""
    return Text(printable(text))


def results_table(first: str, *headings: str) -> Table:
    """An empty table: names left and whole, figures as wide as the screen allows."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in ("size", "latency") else "left")
    return table


def show_measurements(measurements: Measurements) -> None:
    """Print the table of a benchmark."""
    headings = ("provider", "batch", "threads", "latency", "throughput", "against the first")
    table = results_table("model", *headings)
    for row in measurements.rows:
        table.add_row(
            cell(row.model),
            row.provider,
            str(row.batch_size),
            str(row.threads),
            f"{row.latency_ms:.3f} ms",
            f"{row.throughput_items_per_s:.0f}/s",
            ratio_words(row.ratio) if row.ratio else "",
        )
    stdout.print(table)


def show_inspection(inspection: Inspection) -> None:
    """Print what a model is, and the line that makes a data file for it."""
    conversion, simplification = inspection.conversion, inspection.simplification
    say(f"{conversion.format} {conversion.producer}".strip())
    for role, specs in (("input", conversion.inputs), ("output", conversion.outputs)):
        for spec in specs:
            shape = ", ".join("?" if size is None else str(size) for size in spec.shape)
            say(f"  {role}  {spec.name}  {spec.dtype}[{shape}]")
    if simplification is not None:
        show_simplification(simplification, inspection.rewritten)
    if inspection.rewritten is not None:
        show_profile(inspection.rewritten)
    say(f"A file of samples for it:\n{savez_line(conversion.inputs)}")


def show_simplification(simplification: Simplification, rewritten: Rewritten | None = None) -> None:
    """Print what the graph holds after rewriting, which is what `convert` writes."""
    before, after = simplification.before, simplification.after
    macs = "unknown" if after.macs is None else f"{after.macs:,}"
    noun = "node" if before.nodes == 1 else "nodes"
    say(
        f"  {before.nodes} {noun} ({after.nodes} after rewriting), {after.parameters:,} parameters, "
        f"{macs} MACs, {after.file_bytes:,} bytes"
    )
    operators = ", ".join(f"{name} {count}" for name, count in after.operators.items())
    say(f"  {operators}")
    for sentence in rewrite_sentences(simplification, rewritten):
        say(f"  {sentence}")
    for sentence in left_sentences(simplification):
        say(f"  {sentence}")


def show_profile(rewritten: Rewritten) -> None:
    """Print what rewriting gains, and where the time goes before and after it."""
    profile = rewritten.profile
    say(gain_words(rewritten))
    for first, rows in (("operator", profile.operators), ("layer", profile.layers)):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column(first, overflow="fold")
        for heading in ("nodes", "before, ms", "after, ms"):
            table.add_column(heading, justify="right", no_wrap=True)
        for row in time_table(rows):
            table.add_row(*map(cell, (row.name, row.nodes, row.before, row.after)))
        table.add_section()
        table.add_row("one run", "", f"{profile.before_ms:.3f}", f"{profile.after_ms:.3f}")
        stdout.print(table)
    say("Nodes as ONNX Runtime runs them; what its profiler costs is taken off.")


def savez_line(inputs: tuple[TensorSpec, ...]) -> str:
    """The Python line that writes a data file for a model with these inputs.

    >>> savez_line((TensorSpec(name="image", dtype="float32", shape=(None, 28, 28, 1)),))
    'np.savez("samples.npz", **{"image": image})  # image: float32[samples, 28, 28, 1]'
    """
    arrays, shapes = [], []
    for position, spec in enumerate(inputs):
        variable = spec.name if spec.name.isidentifier() else f"array_{position}"
        sizes = ", ".join("?" if size is None else str(size) for size in spec.shape[1:])
        arrays.append(f"{json.dumps(spec.name)}: {variable}")
        shapes.append(f"{variable}: {spec.dtype}[{', '.join(filter(None, ('samples', sizes)))}]")
    return f'np.savez("samples.npz", **{{{", ".join(arrays)}}})  # {"; ".join(shapes)}'


def show_conversion(result: Inspection) -> None:
    """Print the proofs that what was written computes what the upload computes."""
    show_parity(result.conversion)
    simplification = result.simplification
    if simplification is None:
        say("The graph is as the converter wrote it.")
        return
    if simplification.changes:
        difference = simplification.max_relative_difference
        moved = f" by more than {difference:.2g} of its range" if difference else ""
        say(f"Rewritten at no loss: no output moved{moved}.")
    else:
        say(" ".join(("Nothing was rewritten.", *simplification.refusals)))
    show_simplification(simplification)


def show_parity(conversion: Conversion) -> None:
    """Print the proof that the converted model computes what the upload computes."""
    parity = conversion.parity
    if parity is None:
        say("The file is ONNX already; there was nothing to convert.")
        return
    batches = " and ".join(map(str, parity.batch_sizes))
    say(f"Same outputs as {parity.reference} on {parity.inputs_from} inputs at batch size {batches}:")
    for output in parity.outputs:
        say(f"  {output.output}: {output.measure} {output.value:.2g} (allowed {output.tolerance:.2g})")
    for note in filter(None, (parity.note, *conversion.notes)):
        say(f"- {note}")


def show_written(path: Path, content: str = "") -> None:
    """Say where the result lies."""
    say(f"Written to {path}{': ' if content else ''}{content}")
