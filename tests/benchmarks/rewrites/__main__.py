"""What exact rewrites bring: `python tests/benchmarks/rewrites [names] [--folder ...] [--launches 5]`.

Per model of the zoo and of the package index: latency and nodes of the simplified file against the file as
plain tf2onnx or its author wrote it, and against the best of onnxslim, onnxsim and ONNX Runtime's optimizer
for transformers on that file, all loaded with ONNX Runtime's full optimization, batch 1, one thread, on the
model's samples where it has some. The best tool is the fastest of a short launch. A launch holds both
comparisons, one after the other; files that ONNX Runtime makes the same graph of are timed once, and a file
that it makes ours of not at all: its ratio is 1. With five launches a model takes 2 s where all is the same,
else 10 to 30 s, its conversion apart. What lies in the folder is not done again.

Needs onnxsim: `pip install -c constraints.txt -e '.[bench]'`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.conversion.__main__ import convert_all, perform
from benchmarks.conversion.records import is_done
from benchmarks.rewrites import tools
from benchmarks.rewrites.measure import TASK, Rewritten, measure
from benchmarks.rewrites.table import summary, table
from zoo import MODELS

from optimizer.benchmark import describe_machine


def main() -> None:
    """Measure what is left, then print all that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="models, * and ? allowed; none: all")
    parser.add_argument("--launches", type=int, default=5)
    parser.add_argument(
        "--folder", type=Path, help="keeps files and results; may be that of the conversion bench"
    )
    given = parser.parse_args()
    tools.require()
    names = [name for name in MODELS if any(fnmatchcase(name, wanted) for wanted in given.names or ["*"])]
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        as_written = [name for name in names if MODELS[name].format == "onnx"]
        convert_all([name for name in names if name not in as_written], folder, ["latency"])
        perform(["build"], as_written, folder, hash_seed=0)
        for name in names:
            if not is_done(folder / name, TASK):
                record = measure(folder / name, given.launches)
                record.write(folder / name, TASK)
                print(f"{name} {record.seconds:.0f} s", file=sys.stderr, flush=True)
        rows = {name: Rewritten.read(folder / name, TASK) for name in names}
        print(
            f"{describe_machine().target_cpu}, {given.launches} launches\n\n{table(rows)}\n\n{summary(rows)}"
        )


if __name__ == "__main__":
    main()
