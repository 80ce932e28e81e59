"""Whether each rewrite has its 30 positives and 10 near misses: `python tests/benchmarks/counted_cases.py`.

Runs the tests of the rewrites and counts the different models that `rewritten` and `assert_left` got. Where a
test rewrites by other means (any Transposes of some axes), its models do not count.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import rewrite_cases

from optimizer.graph.rewrites import REWRITES

ROOT = Path(__file__).parents[2]
POSITIVES, NEAR_MISSES = 30, 10


def counted(check: Any, models: dict[str, set[bytes]]) -> Any:
    """The check, which writes down what it is called with."""

    def call(proto: Any, *rewrites: Any, **options: Any) -> Any:
        result = check(proto, *rewrites, **options)
        models[rewrites[-1].name].add(proto.SerializeToString(deterministic=True))
        return result

    return call


def main() -> None:
    """Print a row a rewrite; exits 1 where one has too few."""
    positives: dict[str, set[bytes]] = defaultdict(set)
    near_misses: dict[str, set[bytes]] = defaultdict(set)
    rewrite_cases.rewritten = counted(rewrite_cases.rewritten, positives)
    rewrite_cases.assert_left = counted(rewrite_cases.assert_left, near_misses)
    if pytest.main(["-n", "0", "-q", "--rootdir", str(ROOT), str(ROOT / "tests" / "graph" / "rewrites")]):
        sys.exit("the tests fail")
    print("| rewrite | positives | near misses |\n|---|---|---|")
    few = False
    for name in (each.name for each in REWRITES):
        counts = len(positives[name]), len(near_misses[name])
        few = few or counts[0] < POSITIVES or counts[1] < NEAR_MISSES
        print(f"| {name} | {counts[0]} | {counts[1]} |")
    sys.exit(int(few))


if __name__ == "__main__":
    main()
