"""The README's first command, on the installed package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from uploads import Command

from optimizer.results import Outcome


def test_the_demo_shows_tensorflow_the_baseline_each_candidate_and_a_choice(
    onnxpress: Command, tmp_path: Path
) -> None:
    done = onnxpress.run("demo", "-o", "out", "--json")
    assert done.returncode == 0, done.stderr
    outcome = Outcome.model_validate_json(done.stdout)
    assert outcome.conversion.runtime == "TensorFlow"
    assert outcome.conversion.parity is not None
    assert {row.model for row in outcome.rows} == {"original", "plain", "input", "baseline"}
    assert outcome.plain_refused == ""
    measured = [candidate for candidate in outcome.candidates if candidate.measurement]
    assert len(measured) >= 3
    for candidate in measured:
        assert candidate.quality[0].metric == "top-1"
        assert candidate.quality[0].loss.low <= candidate.quality[0].loss.high

    chosen = outcome.confirmation.chosen.name
    if chosen == "baseline":  # a CPU on which integers do not pay; then the reasons say so
        assert outcome.confirmation.chosen.rejected.keys() >= {c.name for c in measured}
    else:
        [quality] = outcome.confirmation.quality
        assert quality.verdict in ("proven", "within")
        assert quality.samples == "750 check samples"
        assert outcome.artifact_bytes * 3 < outcome.upload_bytes

    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert outcome.artifact_sha256 in json.dumps(manifest)
    example = [sys.executable, str(tmp_path / "out" / "example.py")]
    printed = subprocess.run(example, capture_output=True, text=True, check=True).stdout
    assert printed.startswith("digit float32 (1, 10)")


@pytest.mark.parametrize("line", ["<script", "http://", "https://", 'src="'])
def test_the_report_is_one_page_without_script(line: str) -> None:
    template = Path(__file__).parents[2] / "optimizer" / "package" / "templates" / "report.html.j2"
    assert line not in template.read_text()
