"""Chooses the signature that is converted, for all formats that have several."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.errors import InvalidOptionsError

_DEFAULT = "serving_default"


def choose_signature(what: str, names: Sequence[str], asked: str | None) -> str:
    """The signature asked for; else the only one, or `serving_default`.

    Args:
        what: What holds the signatures, for messages: "SavedModel".
        names: Those that it has; may be none where one was asked for.
        asked: The option `signature`.

    Raises:
        InvalidOptionsError: If it is not there, or none was named and several could be meant.
    """
    listed = ", ".join(names)
    if asked is not None:
        if asked not in names:
            none = "It has none: leave out the option `signature` (--signature)."
            hint = f"It has these: {listed}." if names else none
            raise InvalidOptionsError(f"The {what} has no signature {asked!r}.", hint=hint)
        return asked
    if len(names) == 1:
        return names[0]
    if _DEFAULT in names:
        return _DEFAULT
    raise InvalidOptionsError(
        f"The {what} has several signatures and no {_DEFAULT}: {listed}.",
        hint="Name the one to optimize with the option `signature` (--signature).",
    )
