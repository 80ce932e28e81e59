"""How TensorFlow's graphs refer to tensors."""

from __future__ import annotations


def node_name(reference: str) -> str:
    """The node that an input or tensor name means: without `^` and `:0`.

    >>> node_name("^save/Assign"), node_name("save/Const:0")
    ('save/Assign', 'save/Const')
    """
    return reference.removeprefix("^").partition(":")[0]
