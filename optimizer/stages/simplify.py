"""Clean the converted model at no loss, and prove it."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from optimizer.graph import count, simplify
from optimizer.isolation import Reporter
from optimizer.model import PassResult, load_model, save_model
from optimizer.results import Conversion
from optimizer.rewriting import Simplification
from optimizer.runtime import fixed_batch_of
from optimizer.stages.samples import open_role
from optimizer.workspace import StageRequest

_SIZES = (1, 3)


def run(request: StageRequest, reporter: Reporter) -> None:
    """Write the simplified model, and what changed."""
    files = request.files
    model = load_model(files.converted)
    result = PassResult(model, refusals=("simplification was not asked for",))
    if "simplification" in request.goal.techniques:
        result = simplify(model, highest_opset=request.goal.opset, samples=_samples(request))
    save_model(result.model, files.simplified)
    files.write(
        "simplify",
        Simplification(
            before=count(model),
            after=count(result.model),
            max_relative_difference=result.difference,
            rewrites=result.rewrites,
            left=result.left,
            changes=result.changes,
            refusals=result.refusals,
            made_up_scale=result.made_up_scale,
        ),
    )


def _samples(request: StageRequest) -> list[dict[str, NDArray[Any]]]:
    """The first inputs of the user's: one alone and a few together where their number is free."""
    dataset = open_role(request, request.calibration or request.evaluation)
    if dataset is None:
        return []
    size = fixed_batch_of(request.files.read("convert", Conversion).inputs)
    sizes = _SIZES if size is None and not dataset.whole_calls else (size or 1,)
    counts = sorted({min(each, dataset.count) for each in sizes})  # of a single sample no batch of three
    first = (next(dataset.batches(range(each), each)).feeds for each in counts)
    return [feeds for feeds in first if size is None or {len(feed) for feed in feeds.values()} == {size}]
