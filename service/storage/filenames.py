"""File names that strangers chose, made safe to use as a name, to print and to send back."""

from __future__ import annotations

import re
import unicodedata

_LONGEST = 120  # characters
_MOST_BYTES = 240  # of the 255 that a file system takes
_SUFFIXES = re.compile(r"(\.[A-Za-z0-9_]{1,15}){1,2}$")


def clean_filename(name: str, default: str) -> str:
    """The last part of a name, printable and not too long; its suffix stays.

    Args:
        name: What the user's program sent; it may be a path of any system.
        default: What to use where nothing is left, without a suffix.

    >>> clean_filename("../../etc/My model.tar.gz", "model")
    'My model.tar.gz'
    >>> clean_filename("..", "model"), clean_filename(".keras", "model")
    ('model', 'model.keras')
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    printable = "".join(letter for letter in last if letter.isprintable()).strip()
    found = _SUFFIXES.search(printable)
    suffix = found.group() if found else ""
    # No dot in front: a hidden file, or a folder. None at the end: Windows drops it.
    stem = printable.removesuffix(suffix).strip(" .")[: _LONGEST - len(suffix)]
    while len((stem + suffix).encode()) > _MOST_BYTES:
        stem = stem[:-1]
    return (stem.strip(" .") or default) + suffix
