"""Turns a model's inputs into example.py: a short program that runs the artifact without onnxpress.

Names of inputs come from a stranger's file. They enter the program as Python literals alone, and nothing
else of that file does.
"""

from __future__ import annotations

from importlib.resources import files

from optimizer.data import GeneratedDataset, generate_inputs
from optimizer.errors import UnsupportedModelError
from optimizer.package.fits import provider_of, requirements, session_options
from optimizer.results import Outcome, TensorSpec


def example_source(outcome: Outcome, *, has_weights: bool = False) -> str:
    """Write the program that runs `model.onnx` beside it with onnxruntime and numpy alone.

    Args:
        outcome: Whose inputs, provider, threads and batch size it uses.
        has_weights: Whether the weights lie in a file of their own.

    Returns:
        Python 3.11 source.
    """
    import jinja2

    template = jinja2.Template(
        (files("optimizer.package") / "templates/example.py.j2").read_text(),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    inputs = outcome.conversion.inputs
    shapes = _shapes(inputs, outcome.goal.batch_size, outcome.simplification.made_up_scale)
    values = {literal(spec.name): _value(spec, shapes[spec.name]) for spec in inputs}
    session = session_options(outcome)
    source: str = template.render(
        values=values,
        uses_rng=any("rng." in value for value in values.values()),
        rows=not GeneratedDataset(inputs, 1).whole_calls,
        providers="[" + ", ".join(map(literal, session.providers)) + "]",
        threads=session.intra_op_num_threads,
        cuda=provider_of(outcome) == "cuda",
        has_weights=has_weights,
        requirements=requirements(outcome),
    )
    return source


def literal(text: str) -> str:
    """A Python literal for a text, in double quotes where that needs no escape; prints nothing raw.

    >>> print(literal("image"), literal('say "hi"'), literal("a\\nb"))
    "image" 'say "hi"' "a\\nb"
    """
    quoted = repr(text)
    plain_body = quoted.startswith("'") and '"' not in quoted and "\\'" not in quoted
    return f'"{quoted[1:-1]}"' if plain_body else quoted


def _shapes(inputs: tuple[TensorSpec, ...], batch_size: int, scale: int) -> dict[str, tuple[int, ...]]:
    """The shape of one call's inputs."""
    try:
        made_up = generate_inputs(inputs, batch_size, 0, scale=scale)
        return {name: array.shape for name, array in made_up.items()}
    except UnsupportedModelError:  # a type that NumPy lacks: the program then needs samples to run
        return {
            spec.name: tuple(size if isinstance(size, int) else 1 for size in spec.shape) for spec in inputs
        }


def _value(spec: TensorSpec, shape: tuple[int, ...]) -> str:
    """An expression for values that the model accepts; 0 is valid for every table of embeddings."""
    if spec.dtype.startswith("float"):
        return f'rng.random({shape}).astype("{_identifier(spec.dtype)}")'
    if spec.dtype in ("object", "str"):
        return f'np.full({shape}, "text", dtype=object)'
    return f'np.zeros({shape}, dtype="{_identifier(spec.dtype)}")'


def _identifier(dtype: str) -> str:
    """The dtype's name; anything that is no plain name is none of NumPy's."""
    if not dtype.isidentifier():
        raise UnsupportedModelError(f"An input is of the unknown type {dtype!r}.")
    return dtype
