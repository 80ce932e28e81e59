"""What exact rewrites bring: `python tests/benchmarks/rewrites.py [names] [--folder ...] [--launches 5]`.

Per model of the zoo, and `magika` as its author wrote it: latency and nodes of the simplified file against
the file as plain tf2onnx wrote it and against onnxslim's version of that file, all loaded with ONNX Runtime's
full optimization, batch 1, one thread, on the zoo's samples where a model has some. What lies in the folder
is not done again.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import onnx
import onnxslim
import real_inputs
from benchmarks.conversion.__main__ import convert_all
from benchmarks.conversion.latency import launch
from benchmarks.conversion.records import Built, Record, is_done
from zoo import ZOO

from optimizer.benchmark import MeasureSettings, describe_machine, measure_pair
from optimizer.errors import OptimizerError
from optimizer.graph import count, simplify
from optimizer.model import load_model, save_model
from optimizer.results import Interval

REAL = ("magika",)
SLOWER = 0.98


class Rewritten(Record):
    """What was measured of one model."""

    words: str = ""
    changes: str = ""
    nodes: tuple[int, int, int] | None = None
    """As written, of onnxslim, ours."""
    against_plain: Interval | None = None
    against_slim: Interval | None = None


def main() -> None:
    """Measure what is left, then print all that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="models, * and ? allowed; none: all")
    parser.add_argument("--launches", type=int, default=5)
    parser.add_argument(
        "--folder", type=Path, help="keeps files and results; may be that of the conversion bench"
    )
    given = parser.parse_args()
    names = [
        name for name in (*ZOO, *REAL) if any(fnmatchcase(name, wanted) for wanted in given.names or ["*"])
    ]
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        convert_all([name for name in names if name in ZOO], folder, ["latency"])
        for name in names:
            if not is_done(folder / name, "rewrites"):
                measure(name, folder / name, given.launches).write(folder / name, "rewrites")
                print(name, file=sys.stderr, flush=True)
        rows = {name: Rewritten.read(folder / name, "rewrites") for name in names}
        print(
            f"{describe_machine().target_cpu}, {given.launches} launches\n\n{table(rows)}\n\n{summary(rows)}"
        )


def measure(name: str, folder: Path, launches: int) -> Rewritten:
    """Simplify, and compare with both other files."""
    folder.mkdir(exist_ok=True)
    plain, converted = folder / "plain.onnx", folder / "ours-0" / "converted.onnx"
    if name in REAL:
        shutil.copyfile(real_inputs.real_model(name), plain)
        converted = plain
    if not plain.is_file() or not converted.is_file():
        return Rewritten(words="plain tf2onnx does not convert it" if converted.is_file() else "refused")
    ours, slim = folder / "simplified.onnx", folder / "slim.onnx"
    try:
        result = simplify(load_model(converted))
        save_model(result.model, ours)
        onnx.save(onnxslim.slim(str(plain)), slim)
        built = Built.find(folder, "build")
        samples = folder / built.samples if built is not None and built.samples is not None else None
        settings = MeasureSettings(launches=launches, samples=samples)
        ratios = [measure_pair("ours", other, ours, settings, launch).ratio for other in (plain, slim)]
    except OptimizerError as error:
        return Rewritten(words=error.message)
    nodes = [count(load_model(path)).nodes for path in (plain, slim, ours)]
    rewrote = ", ".join(f"{rewrite.name} ({rewrite.count})" for rewrite in result.rewrites)
    return Rewritten(
        changes=rewrote,
        nodes=(nodes[0], nodes[1], nodes[2]),
        against_plain=ratios[0],
        against_slim=ratios[1],
    )


def table(rows: dict[str, Rewritten]) -> str:
    """A row a model."""
    lines = [
        "| model | against plain | against onnxslim | nodes: plain, onnxslim, ours | rewrites |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        if row.nodes is None:
            lines.append(f"| {name} | {row.words} | | | |")
            continue
        nodes = ", ".join(map(str, row.nodes))
        cells = (name, _text(row.against_plain), _text(row.against_slim), nodes, row.changes)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _text(ratio: Interval | None) -> str:
    return "" if ratio is None else f"{ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def summary(rows: dict[str, Rewritten]) -> str:
    """Geometric means, and the names of what falls short."""
    lines = []
    for what in ("against_plain", "against_slim"):
        ratios = {name: getattr(row, what) for name, row in rows.items() if getattr(row, what) is not None}
        if not ratios:
            continue
        mean = math.exp(sum(math.log(ratio.estimate) for ratio in ratios.values()) / len(ratios))
        slower = ", ".join(name for name, ratio in ratios.items() if ratio.high < SLOWER) or "none"
        words = what.replace("_", " ")
        lines.append(f"- {words}: geometric mean {mean:.3f} over {len(ratios)}; below {SLOWER}: {slower}")
    counted = [row.nodes for row in rows.values() if row.nodes is not None]
    fewer = sum(nodes[2] <= nodes[1] for nodes in counted)
    lines.append(f"- no more nodes than onnxslim: {fewer} of {len(counted)}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
