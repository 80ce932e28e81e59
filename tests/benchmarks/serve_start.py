"""Seconds from `onnxpress serve` to the first answer of /health: `python tests/benchmarks/serve_start.py`.

Bar: at most 6 s with compiled bytecode. The first start makes the database, the others find it.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from serving import serving

STARTS = 5
BAR_S = 6.0


def main() -> None:
    """Start the server a few times; exits 1 when the median misses the bar."""
    with tempfile.TemporaryDirectory() as temporary:
        seconds = [start_s(Path(temporary)) for _ in range(STARTS)]
    median = statistics.median(seconds)
    print(f"{', '.join(f'{each:.1f} s' for each in seconds)}; median {median:.1f} s (bar: {BAR_S:.0f} s)")
    sys.exit(median > BAR_S)


def start_s(folder: Path) -> float:
    """One start, to the first answer."""
    begun = time.perf_counter()
    with serving(folder):
        return time.perf_counter() - begun


if __name__ == "__main__":
    main()
