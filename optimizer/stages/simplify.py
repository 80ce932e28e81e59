"""Clean the converted model at no loss, and prove it."""

from __future__ import annotations

from optimizer.graph import count, simplify
from optimizer.isolation import Reporter
from optimizer.model import PassResult, load_model, save_model
from optimizer.rewriting import Simplification
from optimizer.workspace import StageRequest


def run(request: StageRequest, reporter: Reporter) -> None:
    """Write the simplified model, and what changed."""
    files = request.files
    model = load_model(files.converted)
    result = PassResult(model, refusals=("simplification was not asked for",))
    if "simplification" in request.goal.techniques:
        result = simplify(model, highest_opset=request.goal.opset)
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
