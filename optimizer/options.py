"""The pydantic base of every option, step and result: frozen, and an unknown field is an error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticSerializationError

from optimizer.errors import InvalidOptionsError


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
            known = ", ".join(cls.model_fields)
            raise InvalidOptionsError(
                f"{cls.__name__} does not accept these values: {faults}",
                hint=f"The fields are: {known}.",
            ) from error
        except PydanticSerializationError as error:
            raise InvalidOptionsError(
                f"{cls.__name__} does not accept these values: a text in them is no Unicode."
            ) from error


def faults_in_words(faults: Iterable[Any], whole: str = "") -> str:
    """What pydantic found, on one line.

    Args:
        faults: What `ValidationError.errors()` gives: dictionaries with `loc` and `msg`.
        whole: The name of what was validated, for a fault that lies in no single field.

    >>> faults_in_words([{"loc": ("a", 0), "msg": "too long"}, {"loc": (), "msg": "odd"}], whole="Goal")
    'a.0: too long; Goal: odd'
    """
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or whole}: {fault['msg']}" for fault in faults)
