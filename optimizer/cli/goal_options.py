"""Gives a command one option per field of Goal, so that name, default, limits and help have one source."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Annotated, Any, Union, get_origin, get_type_hints

import typer

from optimizer.goal import Goal


def with_goal(*fields: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace the parameter `goal`, a maker of the Goal, by one option per field, by default of all."""
    return lambda command: _with_fields(command, fields or tuple(Goal.model_fields))


def _with_fields(command: Callable[..., None], fields: tuple[str, ...]) -> Callable[..., None]:
    def wrapped(**values: Any) -> None:
        given = {name: _split(name, values.pop(name)) for name in fields}
        chosen = {name: value for name, value in given.items() if value not in (None, [])}
        command(goal=lambda: Goal.parse(chosen), **values)

    hints = get_type_hints(command, include_extras=True)
    own = [
        parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(command).parameters.items()
        if name != "goal"
    ]
    parameters = [*own, *(option(name) for name in fields)]
    return with_parameters(wrapped, command, parameters)


def with_parameters(
    wrapped: Callable[..., None], command: Callable[..., None], parameters: list[inspect.Parameter]
) -> Callable[..., None]:
    """Let typer see a function as the command whose place it takes, with parameters made at run time."""
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    return wrapped


def optional(name: str, kind: Any, flag: Any) -> inspect.Parameter:
    """A parameter that is None where the option was not given."""
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, flag]
    )


def _split(name: str, value: Any) -> Any:
    """Several values come as several options, or as one with commas; a shape has commas of its own.

    >>> _split("techniques", ["quantization,precision", "simplification"])
    ['quantization', 'precision', 'simplification']
    >>> _split("fixed_shapes", ["x:1,3"])
    ['x:1,3']
    """
    if not isinstance(value, list) or get_origin(Goal.model_fields[name].annotation) is dict:
        return value
    return [part for text in value for part in text.split(",")]


def option(name: str) -> inspect.Parameter:
    """The command-line option for one field of Goal; None means not given, so Goal's default holds."""
    field = Goal.model_fields[name]
    shown = ", ".join(field.default) if isinstance(field.default, tuple) else field.default
    default = "" if shown in (None, "", False, {}) else f" (default: {shown})"
    flag = typer.Option(f"--{name.replace('_', '-')}", help=f"{field.description}{default}")
    return optional(name, option_type(field.annotation), flag)


def option_type(annotation: Any) -> Any:
    """The type that typer understands for a field's type: tuples and dicts become repeatable options of text.

    Goal checks what the text may be.

    >>> option_type(tuple[str, ...])
    list[str] | None
    >>> option_type(int | None)
    int | None
    """
    if get_origin(annotation) in (tuple, dict):
        return list[str] | None
    if get_origin(annotation) in (Union, types.UnionType):
        return annotation
    return annotation | None
