"""The pydantic base of every option, step and result: frozen, and an unknown field is an error."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

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
            return cls.model_validate(values)
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc'])) or cls.__name__}: {fault['msg']}"
                for fault in error.errors()
            )
            known = ", ".join(cls.model_fields)
            raise InvalidOptionsError(
                f"{cls.__name__} does not accept these values: {faults}",
                hint=f"The fields are: {known}.",
            ) from error
