"""The bench's table, a row a model, and what the rows come to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.conversion.latency import Latency
from benchmarks.conversion.records import Built, Converted, Failed, Plain
from zoo import ZooModel

SLOWER = 0.98
"""A file of ours is slower where the whole interval of its ratio lies below this."""

HEADER = (
    "| model | family | format | ours | plain tf2onnx | CPU s, ours / plain | hashes | latency ratio |\n"
    "|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Row:
    """All that is known of one model; None is what was not done."""

    model: ZooModel
    built: Built | None
    conversions: tuple[Converted, ...]
    plain: Plain | None
    latency: Latency | None
    failed: dict[str, int]
    """Task to the exit code of a process that ended without a result."""

    @classmethod
    def read(cls, model: ZooModel, folder: Path) -> Row:
        """Collect the records of a model's folder."""
        conversions = [Converted.find(folder, f"convert-{run}") for run in range(_MOST_RUNS)]
        failed = {
            path.name: Failed.read(folder, path.stem).exit_code for path in folder.glob("*.failed.json")
        }
        return cls(
            model,
            Built.find(folder, "build"),
            tuple(found for found in conversions if found is not None),
            Plain.find(folder, "plain"),
            Latency.find(folder, "latency"),
            failed,
        )

    @property
    def is_converted(self) -> bool:
        """Whether our conversion gave a file that computes the same."""
        return bool(self.conversions) and self.conversions[0].is_converted

    @property
    def hashes(self) -> set[str]:
        """Of the files that the runs gave."""
        return {found.sha256 for found in self.conversions if found.is_converted}

    @property
    def is_slower(self) -> bool:
        """Whether our file is slower for certain."""
        return (
            self.latency is not None and self.latency.ratio is not None and self.latency.ratio.high < SLOWER
        )

    @property
    def cpu_s(self) -> tuple[float, float] | None:
        """Ours and plain tf2onnx's, where both convert."""
        plain = self.plain
        if not self.is_converted or plain is None or plain.ours_cpu_s is None or plain.plain_cpu_s is None:
            return None
        return plain.ours_cpu_s, plain.plain_cpu_s

    def text(self) -> str:
        """The row in Markdown."""
        plain = "" if self.plain is None else self.plain.words
        cells = (
            self.model.name,
            self.model.family,
            self.model.format,
            self._ours(),
            plain,
            "" if self.cpu_s is None else "{:.2f} / {:.2f}".format(*self.cpu_s),
            f"{len(self.hashes)} of {len(self.conversions)}" if self.hashes else "",
            self._latency(),
        )
        return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"

    def _ours(self) -> str:
        died = "; ".join(f"{task} ended with {code}" for task, code in self.failed.items())
        return died or (self.conversions[0].words if self.conversions else "")

    def _latency(self) -> str:
        if self.latency is None or self.latency.ratio is None:
            return "" if self.latency is None else self.latency.words
        ratio = self.latency.ratio
        slower = " slower" if self.is_slower else ""
        return f"{ratio.estimate:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]{slower}"


_MOST_RUNS = 10


def summary(rows: list[Row]) -> str:
    """Counts, sums, and the names of what falls short."""
    converted = [row for row in rows if row.is_converted]
    both = [row.cpu_s for row in rows if row.cpu_s is not None]
    plain = sum(row.plain is not None and row.plain.is_converted for row in rows)
    lines = [f"- converted with parity: {len(converted)} of {len(rows)}; plain tf2onnx's file runs: {plain}"]
    if both:
        ours_s, plain_s = (sum(column) for column in zip(*both, strict=True))
        lines.append(
            f"- CPU of {len(both)} conversions: {ours_s:.0f} s against {plain_s:.0f} s, "
            f"{ours_s / plain_s:.2f} of plain tf2onnx's"
        )
    repeated = [row for row in converted if len(row.conversions) > 1]
    unsteady = [row.model.name for row in repeated if len(row.hashes) > 1]
    runs = sum(len(row.conversions) for row in repeated)
    lines.append(f"- one hash: {len(repeated) - len(unsteady)} of {len(repeated)} models, {runs} conversions")
    lines += [f"- more than one hash: {', '.join(unsteady)}"] * bool(unsteady)
    timed = [row for row in rows if row.latency is not None and row.latency.ratio is not None]
    slower = ", ".join(row.model.name for row in timed if row.is_slower) or "none"
    lines.append(
        f"- latency: {len(timed)} pairs; slower than plain tf2onnx's file (below {SLOWER}): {slower}"
    )
    for row in converted:
        if row.model.name == "resnet50":
            lines.append(
                f"- peak memory of converting ResNet50: {row.conversions[0].peak_bytes / 1e9:.2f} GB"
            )
    return "\n".join(lines)
