"""Make one candidate: the recipe applied to the simplified model."""

from __future__ import annotations

from optimizer.calibrate import Ranges
from optimizer.errors import InvalidOptionsError
from optimizer.external_data import remove_model
from optimizer.graph import count, with_float_weights
from optimizer.isolation import Reporter
from optimizer.model import Model, load_model, save_model, sha256
from optimizer.recipe import StepInputs, apply_recipe
from optimizer.results import Candidate, Plan, Probe
from optimizer.runtime import open_session
from optimizer.steps import Recipe
from optimizer.workspace import StageRequest, Workspace


def run(request: StageRequest, reporter: Reporter) -> None:
    """Write the candidate's file and description; a file like another's is refused by name.

    Raises:
        OptimizerError: If a step cannot handle the model, or the provider cannot load the result.
    """
    files, recipe = request.files, request.recipe
    if recipe is None:
        raise InvalidOptionsError("The stage apply needs a recipe.")
    reporter.progress(0.0, recipe.name)
    probe = files.read("probe", Probe)
    model = with_float_weights(load_model(files.simplified))
    if recipe.needs_calibration:
        model.require_one_proto()
    ranges = Ranges.load(files.ranges) if recipe.needs_calibration else None
    result = apply_recipe(model, recipe, StepInputs(ranges=ranges))
    path = files.candidate(recipe.name)
    path.parent.mkdir(exist_ok=True)
    save_model(result.model, path)
    open_session(path, probe.provider, probe.threads)
    digest = sha256(path)
    refused = _other_opset(result.model, request.goal.opset)
    twin = None if refused else same_file(files, recipe, digest)
    if twin:
        refused = f"it is the same file as {twin}"
    if refused:
        remove_model(path)
    files.write(
        f"candidates/{recipe.name}",
        Candidate(
            name=recipe.name,
            recipe=recipe,
            sha256=digest,
            counts=count(result.model),
            changes=(*result.changes, *result.refusals),
            refused=refused,
        ),
    )


def _other_opset(model: Model, wanted: int | None) -> str | None:
    """Why a file may not be chosen that a step has raised to another operator set than asked for."""
    found = model.graph_ir.opset_imports.get("", 0)
    if wanted is None or found == wanted:
        return None
    return f"it needs operator set {found}, and the option opset asks for {wanted}"


def same_file(files: Workspace, recipe: Recipe, digest: str) -> str | None:
    """The name of what has these bytes already: the baseline, or a candidate made before."""
    if digest == sha256(files.simplified):
        return "the baseline"
    for other in files.read("plan", Plan).recipes:
        if other.name == recipe.name:
            break
        if files.read(f"candidates/{other.name}", Candidate).sha256 == digest:
            return other.name
    return None
