"""Bars of conversion, over the zoo: `python tests/benchmarks/conversion [names] [--bars ...] [--folder ...]`.

Prints one row a model and a summary. Per model: parity or the refusal in its words, and peak memory; CPU
seconds of our conversion against plain tf2onnx's of the same file, the median of runs in turns; whether
conversions under different PYTHONHASHSEED give one hash; latency of our file against plain tf2onnx's. What
is done lies in the folder and is not done again: the same command goes on where it was cut off.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.conversion import latency
from benchmarks.conversion.preloaded import Preloaded
from benchmarks.conversion.records import Built, Failed, is_done
from benchmarks.conversion.table import HEADER, Row, summary
from zoo import MODELS, ZOO

BARS = ("parity", "cpu", "hashes", "latency")
RUNS, RUNS_OF_SMALL, SMALL = 3, 10, 10
"""Conversions a model, of the smallest models, and how many of these there are."""


def main() -> None:
    """Do what is left to do, then print all that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="models of the zoo, * and ? allowed; none: all")
    parser.add_argument("--bars", nargs="+", choices=BARS, default=BARS)
    parser.add_argument("--launches", type=int, default=5, help="processes that a latency ratio rests on")
    parser.add_argument("--folder", type=Path, help="keeps uploads, files and results")
    given = parser.parse_args()
    names = [name for name in ZOO if any(fnmatchcase(name, wanted) for wanted in given.names or ["*"])]
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        convert_all(names, folder, given.bars)
        if "latency" in given.bars:
            for name in names:
                if not is_done(folder / name, "latency"):
                    latency.measure(folder / name, given.launches).write(folder / name, "latency")
        rows = [Row.read(ZOO[name], folder / name) for name in names]
        print(HEADER, *(row.text() for row in rows), "", summary(rows), sep="\n")


def convert_all(names: list[str], folder: Path, bars: Iterable[str]) -> None:
    """Build, convert, and convert again."""
    first = ["build", "convert-0"] + ["plain"] * ("cpu" in bars or "latency" in bars)
    perform(first, names, folder, hash_seed=0)
    if "hashes" not in bars:
        return
    sizes = {name: Built.read(folder / name, "build").upload_bytes for name in names}
    small = sorted(sizes, key=sizes.__getitem__)[:SMALL]
    for run in range(1, RUNS_OF_SMALL):
        perform([f"convert-{run}"], names if run < RUNS else small, folder, hash_seed=run)


def perform(tasks: list[str], names: list[str], folder: Path, hash_seed: int) -> None:
    """Do the tasks that are left, for the models of either Keras in a process of theirs."""
    for legacy in (False, True):
        left = [
            name
            for name in names
            if MODELS[name].legacy == legacy and not all(is_done(folder / name, task) for task in tasks)
        ]
        if not left:
            continue
        with Preloaded(folder / "log.txt", hash_seed=hash_seed, legacy=legacy) as preloaded:
            for name in left:
                for task in tasks:
                    if is_done(folder / name, task):
                        continue
                    code = preloaded.perform(task, name, folder / name)
                    print(f"{name} {task} {code}", file=sys.stderr, flush=True)
                    if code != 0:
                        Failed(exit_code=code).write(folder / name, f"{task}.failed")
                        break


if __name__ == "__main__":
    main()
