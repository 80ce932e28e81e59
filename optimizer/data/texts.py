"""Makes up texts: plain ones to time a model on, and telling ones to tell two models apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TEXT_WORDS = 12
"""Words of a plain text; where a sample has several strings, each is one word."""

_STRANGE = (
    "", " ", "a", "Hello, World!  It's a TEST.", "tab\tand\nline\r\nend\v\f", "  begins and ends  ",
    "a,b,,c,",
    "ÄÖÜ ß ẞ naïve CAFÉ İstanbul ǅ Σίσυφος", "日本語 テキスト", "no\u00a0break\u2003space", "😀👍🏽 emoji",
    "don’t — “quote”", "x" * 20, "y" * 70, "\\ / | ^ $ * + ? ( ) [ ] { } <b>", "3.14 -7 1e5 007",
    "e\u0301 \ufeff",
)  # fmt: skip


def plain_texts(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.object_]:
    """Words of six lower-case letters: object[shape]."""
    texts = np.empty(shape, dtype=object)
    for index in np.ndindex(shape):
        texts[index] = " ".join(_random_word(rng) for _ in range(TEXT_WORDS if texts.size == 1 else 1))
    return texts


def telling_texts(
    words: tuple[str, ...], shape: tuple[int, ...], rng: np.random.Generator
) -> NDArray[np.object_]:
    """Texts of known and unknown words in any case, and what is easily read in two ways: object[shape].

    Args:
        words: Those that the models know.
        shape: Of the result.
        rng: Decides.
    """
    texts = np.empty(shape, dtype=object)
    for index in np.ndindex(shape):
        kind = rng.integers(4)
        count = 1 if kind == 1 else int(rng.integers(2, 13))
        words_of_text = (_word(words, rng) for _ in range(count))
        texts[index] = _STRANGE[int(rng.integers(len(_STRANGE)))] if kind == 0 else " ".join(words_of_text)
    return texts


def _word(words: tuple[str, ...], rng: np.random.Generator) -> str:
    if not words or rng.random() < 0.2:
        return _random_word(rng)
    word = words[int(rng.integers(len(words)))]
    changed = (word, word, word, word.upper(), word.capitalize(), f"{word},")
    return changed[int(rng.integers(len(changed)))]


def _random_word(rng: np.random.Generator) -> str:
    return "".join(map(chr, rng.integers(ord("a"), ord("z") + 1, 6)))
