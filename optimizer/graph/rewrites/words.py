"""Each rewrite in plain words, as the report tells it: what was there, and what became of it."""

_WORDS = {
    "collapse_reshapes": "moves of data in a row (Reshape, Squeeze, Unsqueeze, Flatten) became one, or none",
    "collapse_squeezes": "the moves between one-dimensional convolutions went: the data keeps the form of an "
    "image from one to the next",
    "eliminate_reshapes_around_matmul": "a Dense layer no longer flattens its input and restores the shape "
    "behind it",
    "eliminate_zero_states": "a recurrent layer is no longer fed zeros as its first state",
    "fold_affine": "a scale or shift by channel, as a BatchNormalization is, went into the weights of the "
    "layer before it",
    "fold_into_table": "what follows an embedding row by row was computed once, in its table",
    "fold_last_step_into_recurrence": "the last step of a recurrent layer is read from its final state",
    "fold_one_hot_into_matmul": "a product with one-hot rows became a look-up",
    "fold_reshape_target": "a shape that the graph computed in each run became a constant",
    "fuse_gelu": "a GELU in several operators became one operator",
    "fuse_layer_normalization": "a layer normalization in several operators became one operator",
    "fuse_layer_normalization_of_rows": "a layer normalization written as a BatchNormalization over rows "
    "became one operator",
    "fuse_recurrence": "a loop over the steps of a sequence became one LSTM, GRU or RNN operator",
}


def in_words(rewrite: str) -> str:
    """A rewrite's name in plain words.

    >>> in_words("fuse_gelu"), in_words("fold_something_new")
    ('a GELU in several operators became one operator', 'fold something new')
    """
    return _WORDS.get(rewrite, rewrite.replace("_", " "))
