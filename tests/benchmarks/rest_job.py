"""The main job through REST with nothing but curl, and by the command: `python tests/benchmarks/rest_job.py`.

Five real models, from an empty data folder, with target_cpu stated: the same candidates, choice rule and
manifest fields as `onnxpress optimize` gives for the same inputs (figures of time aside); guesslang must be a
failed job whose problem its artifact's address answers with. Prints one row per model, and ends with 1 at a
difference. Names of models as arguments run only these.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.main_job import CASES, make_data
from real_inputs import real_model
from serving import COMMAND, Server, serving

from optimizer import Data
from optimizer.demo.digits import write_demo_data

OPTIONS = {"threads": 1, "batch_size": 1, "target_cpu": "vnni"}
HEADER = (
    "| model | job | candidates | same files | choice by REST | choice by command | manifest | differences |"
)
# What hangs on timing: figures, and the choice that is made by them.
MEASURED = {
    "choice", "measurements", "measurement", "rejected", "reasons", "check", "machine", "artifact", "seconds",
}  # fmt: skip


@dataclass
class Found:
    """One row of the table."""

    model: str
    status: str = "-"
    candidates: str = "-"
    files: str = "-"
    by_rest: str = "-"
    by_command: str = "-"
    manifest: str = "-"
    differences: list[str] = field(default_factory=list)

    def row(self) -> str:
        """The row in Markdown."""
        said = "; ".join(self.differences) or "none"
        cells = (self.model, self.status, self.candidates, self.files, self.by_rest, self.by_command)
        return f"| {' | '.join((*cells, self.manifest, said))} |"


def main() -> None:
    """Run every model both ways, and print its row as soon as it is there."""
    wanted = set(sys.argv[1:])
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with serving(folder / "server") as server:
            print(f"{HEADER}\n|{'---|' * HEADER.count(' | ')}---|", flush=True)
            for name in ("demo", *(case.name for case in CASES), "guesslang"):
                if not wanted or name in wanted:
                    try:
                        found = compare(name, *inputs(name, folder), server)
                    except subprocess.CalledProcessError:
                        sys.exit(server.log.read_text()[-20_000:])
                    print(found.row(), flush=True)
                    failed |= bool(found.differences)
    sys.exit(failed)


def inputs(name: str, folder: Path) -> tuple[Path, Data]:
    """A model as one file, and its samples."""
    if name == "demo":
        demo = write_demo_data(folder / "demo")
        return demo.model, Data(calibration=demo.calibration, evaluation=demo.evaluation)
    model = real_model(name)
    if model.is_dir():  # over HTTP a SavedModel is an archive
        model = Path(shutil.make_archive(str(folder / name), "zip", model))
    case = next((case for case in CASES if case.name == name), None)
    return model, make_data(case, folder) if case else Data()


def compare(name: str, model: Path, data: Data, server: Server) -> Found:
    """One model through REST and through the command line."""
    found = Found(name)
    job = job_by_curl(model, data, server)
    outcome = by_command(model, data, server.log.parent / name)
    found.status = job["status"]
    if name == "guesslang":
        compare_failure(found, job, outcome, server)
        return found
    if job["status"] != "succeeded":
        found.differences.append(json.dumps(job["problem"]))
        return found
    mine = {made["name"]: made for made in job["candidates"]}
    theirs = {made["name"]: made for made in outcome["candidates"]}
    same = [each for each in mine if each in theirs and mine[each]["sha256"] == theirs[each]["sha256"]]
    found.candidates, found.files = str(len(mine)), f"{len(same)} of {len(theirs)}"
    if list(mine) != list(theirs):
        found.differences.append(f"candidates {list(mine)} and {list(theirs)}")
    if len(same) != len(theirs):
        found.differences.append(f"other bytes: {sorted(set(theirs) - set(same))}")
    found.by_rest = job["choice"]["name"]
    found.by_command = outcome["confirmation"]["chosen"]["name"]
    compare_manifests(found, job, server)
    return found


def compare_manifests(found: Found, job: dict[str, Any], server: Server) -> None:
    """Every field of the two manifests; the choice rule is the goal, the judgement and the sample split."""
    mine = curl(server, f"/jobs/{job['id']}/manifest")
    theirs = json.loads((server.log.parent / found.model / "manifest.json").read_text())
    fields, others = set(paths(mine, steady=False)), set(paths(theirs, steady=False))
    found.manifest = f"{len(fields & others)} fields"
    if fields != others:
        found.differences.append(f"manifest fields {sorted(fields ^ others)}")
    values, expected = dict(paths(mine, steady=True)), dict(paths(theirs, steady=True))
    apart = sorted(path for path in values.keys() | expected.keys() if values.get(path) != expected.get(path))
    if apart:
        found.differences.append(f"manifest values of {', '.join(apart)}")


def paths(value: Any, *, steady: bool, prefix: str = "") -> dict[str, Any]:
    """The dotted names of a manifest's fields and their values.

    Args:
        value: A part of the manifest.
        steady: Only what does not hang on timing, by value; else only names that the timing cannot add.
        prefix: Name of the part.
    """
    if isinstance(value, dict):
        parts = value.items()
        kept = [(name, part) for name, part in parts if not (name in MEASURED and (steady or prefix))]
        found: dict[str, Any] = {}
        for name, part in kept:
            deeper = part if name not in MEASURED else None
            found |= paths(deeper, steady=steady, prefix=f"{prefix}.{name}".strip("."))
        return found
    if isinstance(value, list) and value and isinstance(value[0], dict):
        found = {}
        for number, part in enumerate(value):
            found |= paths(part, steady=steady, prefix=f"{prefix}[{number}]")
        return found
    return {prefix: value}


def compare_failure(found: Found, job: dict[str, Any], outcome: dict[str, Any], server: Server) -> None:
    """The same problem from the job, from its artifact's address, and from the command line."""
    problem, error = job["problem"], outcome["error"]
    answered = curl(server, f"/jobs/{job['id']}/artifact")
    if job["status"] != "failed" or answered != problem:
        found.differences.append(f"the job says {problem}, its artifact {answered}")
    if (problem["detail"], problem["hint"]) != (error["message"], error["hint"]):
        found.differences.append(f"the command says {error}")
    found.manifest = f"{problem['type']} ({problem['status']})"


def job_by_curl(model: Path, data: Data, server: Server) -> dict[str, Any]:
    """Submit, follow to the end, and read a job."""
    form = ["-F", f"model=@{model}", "-F", f"options={json.dumps(OPTIONS)}"]
    for role in ("calibration", "evaluation"):
        if (path := getattr(data, role)) is not None:
            form += ["-F", f"{role}=@{path}"]
    accepted = curl(server, "/optimize", *form)
    subprocess.run(
        ["curl", "-sSN", f"{server.address}/jobs/{accepted['id']}/events"], check=True, capture_output=True
    )
    return curl(server, f"/jobs/{accepted['id']}")


def curl(server: Server, path: str, *arguments: str) -> dict[str, Any]:
    """What an address answers."""
    done = subprocess.run(
        ["curl", "-sS", *arguments, server.address + path], check=True, capture_output=True, text=True
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def by_command(model: Path, data: Data, folder: Path) -> dict[str, Any]:
    """What `onnxpress optimize --json` prints for the same inputs and options."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in OPTIONS.items()]
    for role in ("calibration", "evaluation"):
        if (path := getattr(data, role)) is not None:
            options.append(f"--{role}={path}")
    done = subprocess.run(
        [COMMAND, "optimize", str(model), "-o", str(folder), "--json", *options],
        check=False,
        capture_output=True,
        text=True,
    )
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


if __name__ == "__main__":
    main()
