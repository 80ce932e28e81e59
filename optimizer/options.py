"""The pydantic base of every option, step and result: frozen, and an unknown field is an error."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticSerializationError

from optimizer.errors import InvalidOptionsError

_ALTERNATIVE = re.compile(r"str|int|float|literal\[.*|constrained-\w+")


class Options(BaseModel):
    """A frozen record; its field docstrings are the help text of Python, CLI and REST alike."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Build from loose values.

        Raises:
            InvalidOptionsError: Naming each field that is unknown or out of range, and why.
        """
        try:
            found = cls.model_validate(values)
            found.model_dump_json()  # it goes to the stages as JSON, which lone surrogates cannot
            return found
        except ValidationError as error:
            faults = faults_in_words(error.errors(), whole=cls.__name__)
            raise InvalidOptionsError(
                f"Values that are not accepted: {faults}",
                hint=_hint(cls.model_fields, error.errors()),
            ) from error
        except PydanticSerializationError as error:
            raise InvalidOptionsError(
                "Values that are not accepted: a text in them is no Unicode."
            ) from error


def _hint(fields: Mapping[str, FieldInfo], faults: Iterable[Any]) -> str:
    """What each wrong field may hold; all that there are only where one is unknown."""
    wrong = {fault["loc"][0]: None for fault in faults if fault["loc"]}
    if any(name not in fields for name in wrong):
        return f"The fields are: {', '.join(fields)}."
    described = {name: " ".join((fields[name].description or "").split()) for name in wrong}
    return " ".join(f"{name}: {text}" for name, text in described.items() if text)


def faults_in_words(faults: Iterable[Any], whole: str = "") -> str:
    """What pydantic found, on one line.

    Args:
        faults: What `ValidationError.errors()` gives: dictionaries with `loc` and `msg`.
        whole: The name of what was validated, for a fault that lies in no single field.

    >>> faults_in_words([{"loc": ("a", 0), "msg": "too long"}, {"loc": (), "msg": "odd"}], whole="Goal")
    'a.0: too long; Goal: odd'
    >>> faults_in_words([{"loc": ("a", "int"), "msg": "no"}, {"loc": ("a", "none"), "msg": "not None"}])
    'a: no'
    """
    found = list(faults)
    # Where a value may be left out, pydantic also says that it is not None; a list that lost a wrong item
    # is told to be too short.
    shown = [fault for fault in found if fault["loc"][-1:] != ("none",)]
    deeper = {fault["loc"][:-1] for fault in shown}
    shown = [fault for fault in shown if fault.get("type") != "too_short" or fault["loc"] not in deeper]
    return "; ".join(f"{_place(fault['loc']) or whole}: {_reason(fault['msg'])}" for fault in shown or found)


def _place(parts: tuple[Any, ...]) -> str:
    """The field, without the alternative of a union that was tried."""
    kept = [str(part) for part in parts]
    if len(kept) > 1 and _ALTERNATIVE.fullmatch(kept[-1]):
        kept.pop()
    return ".".join(kept)


def _reason(message: str) -> str:
    if message == "Extra inputs are not permitted":
        return "there is no such field"
    return message.removeprefix("Value error, ").replace("valid tuple", "valid list")
