"""One model: simplify it, let the other tools write their files, and time what differs."""

from __future__ import annotations

import time
from pathlib import Path

import onnx
from benchmarks.conversion.latency import launch_together
from benchmarks.conversion.records import Built, Record
from benchmarks.rewrites import tools
from benchmarks.rewrites.same_run import hash_as_run

from optimizer.benchmark import LaunchTimes, MeasureSettings, compare
from optimizer.errors import OptimizerError
from optimizer.graph import simplify
from optimizer.graph.structure import all_nodes
from optimizer.model import load_model, save_model
from optimizer.results import Interval

TASK = "rewritten"
SCREENING_S = 0.3
"""Time for the blocks of a tool's file and of the plain one, to find the fastest tool."""
SAME = Interval(estimate=1.0, low=1.0, high=1.0, n=0)
"""Of a file that runs the same graph as ours."""

Pair = tuple[Path, Path]


class Rewritten(Record):
    """What was measured of one model."""

    words: str = ""
    """Why nothing was."""
    changes: str = ""
    nodes: dict[str, int] = {}
    """Of the plain file, of each tool's, of ours."""
    dropped: dict[str, str] = {}
    """Tools whose file does not count, and why."""
    best: str = ""
    """The fastest tool."""
    against_plain: Interval | None = None
    against_best: Interval | None = None
    seconds: float = 0.0
    """What all this took."""


def measure(folder: Path, launches: int) -> Rewritten:
    """Compare ours with the plain file and with that of the best tool."""
    begin = time.monotonic()
    built = Built.find(folder, "build")
    plain, converted, ours = folder / "plain.onnx", folder / "ours-0" / "converted.onnx", folder / "ours.onnx"
    if built is not None and built.upload.endswith(".onnx"):
        plain = converted = folder / built.upload
    if not plain.is_file() or not converted.is_file():
        return Rewritten(words="plain tf2onnx does not convert it" if converted.is_file() else "refused")
    samples = folder / built.samples if built is not None and built.samples is not None else None
    settings = MeasureSettings(launches=launches, samples=samples)
    try:
        result = simplify(load_model(converted))
        save_model(result.model, ours)
        settings = settings.model_copy(update={"scale": result.made_up_scale})
        files, runs, dropped = _files_of_tools(plain)
        files |= {"plain": plain, "ours": ours}
        runs |= {"plain": hash_as_run(plain), "ours": hash_as_run(ours)}
        best = _fastest(files, runs, settings)
        ratios = _ratios(files, runs, ["plain", best] if best else ["plain"], settings)
    except OptimizerError as error:
        return Rewritten(words=error.message)
    return Rewritten(
        changes=", ".join(f"{rewrite.name} ({rewrite.count})" for rewrite in result.rewrites),
        nodes={name: _nodes(path) for name, path in files.items()},
        dropped=dropped,
        best=best,
        against_plain=ratios["plain"],
        against_best=ratios.get(best),
        seconds=time.monotonic() - begin,
    )


def _files_of_tools(plain: Path) -> tuple[dict[str, Path], dict[str, str], dict[str, str]]:
    """Each tool's file and the hash of what it runs, and the tools that drop out."""
    files, runs, dropped = {}, {}, {}
    expected = tools.expected_of(plain)
    for tool in tools.TOOLS:
        target = plain.with_name(f"{tool}.onnx")
        made = tools.apply(tool, plain, target, expected)
        if made.words:
            dropped[tool] = made.words
        else:
            files[tool], runs[tool] = target, made.run
    return files, runs, dropped


def _nodes(path: Path) -> int:
    return sum(1 for _ in all_nodes(onnx.load(str(path), load_external_data=False).graph))


def _fastest(files: dict[str, Path], runs: dict[str, str], settings: MeasureSettings) -> str:
    """The tool whose file is the fastest; the first of those that run the same graph."""
    tool_of = {runs[tool]: tool for tool in reversed(tools.TOOLS) if tool in files}
    if len(tool_of) < 2:
        return next(iter(tool_of.values()), "")
    faster = {tool: 0.0 for run, tool in tool_of.items() if run == runs["plain"]}
    others = [tool for tool in tool_of.values() if tool not in faster]
    times = _launch([(files["plain"], files[tool]) for tool in others], settings, 0, SCREENING_S)
    faster |= {tool: found.log_ratio or 0.0 for tool, found in zip(others, times, strict=True)}
    return max(faster, key=faster.__getitem__)


def _ratios(
    files: dict[str, Path], runs: dict[str, str], names: list[str], settings: MeasureSettings
) -> dict[str, Interval]:
    """How many times faster ours is than each of these files."""
    ratio_of = {runs["ours"]: SAME}
    pairs = {runs[name]: (files[name], files["ours"]) for name in names if runs[name] != runs["ours"]}
    if pairs:
        launches = [_launch(list(pairs.values()), settings, number) for number in range(settings.launches)]
        for place, run in enumerate(pairs):
            ratio_of[run] = compare([times[place] for times in launches])
    return {name: ratio_of[runs[name]] for name in names}


def _launch(
    pairs: list[Pair], settings: MeasureSettings, number: int, budget_s: float = 1.0
) -> list[LaunchTimes]:
    """Pairs one after another in one process; the order swaps from launch to launch."""
    turn = 1 if number % 2 == 0 else -1
    requests = [
        settings.request(*pair, number=number).model_copy(update={"budget_s": budget_s}) for pair in pairs
    ]
    return launch_together(requests[::turn])[::turn]
