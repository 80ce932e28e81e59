"""Bar of the durable jobs: 30 kills at random moments over 60 short jobs, and what was lost by it.

python tests/benchmarks/kills.py [kills] [jobs] [seed]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from killing import Killing


def main() -> int:
    """Print the figures; exit code 1 where anything was lost."""
    kills, jobs, seed = (int(given) for given in (*sys.argv[1:], *("30", "60", "1")[len(sys.argv) - 1 :]))
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tally = Killing(Path(folder).resolve(), seed).run(kills, jobs)
    print(f"{kills} kills over {jobs} jobs, seed {seed}, {time.monotonic() - begun:.0f} s")
    print(tally)
    print("\n".join(tally.faults()) or "nothing lost")
    return 1 if tally.faults() else 0


if __name__ == "__main__":
    sys.exit(main())
