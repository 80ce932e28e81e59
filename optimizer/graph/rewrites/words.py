"""Each rewrite in plain words, as the report tells it: what was there, and what became of it."""

_WORDS = {
    "collapse_constants": "two constants in a row became one",
    "collapse_gathers": "a look-up in what was looked up became one look-up",
    "collapse_moves": "moves of data in a row (Reshape, Transpose, Squeeze, Unsqueeze) became the fewest "
    "that do the same, or none",
    "collapse_parts": "what was cut and joined again, or joined and cut again, is read as it was",
    "collapse_slices": "slices in a row became one",
    "eliminate_expand": "values are no longer repeated for an operator that repeats them by itself",
    "eliminate_index_wrap": "negative indices are no longer wrapped by hand: a look-up does so by itself",
    "eliminate_reshapes_around_matmul": "a Dense layer no longer flattens its input and restores the shape "
    "behind it",
    "eliminate_slice": "a slice that takes all went",
    "eliminate_zero_states": "a recurrent layer is no longer fed zeros as its first state",
    "fold_affine": "a scale or shift by channel, as a BatchNormalization is, went into the weights of the "
    "layer before it",
    "fold_affine_forwards": "a scale or shift by column went into the weights of the layer behind it",
    "fold_axes_into_reduction": "a mask's reduction took over the axes that were moved before it",
    "fold_comparison_with_zero": "a mask no longer compares its own comparison with zero",
    "fold_conv_into_tables": "a convolution of an embedding became a sum of look-ups, one a tap",
    "fold_into_table": "what follows an embedding row by row was computed once, in its table",
    "fold_last_step_into_recurrence": "the last step of a recurrent layer is read from its final state",
    "fold_one_hot_into_matmul": "a product with one-hot rows became a look-up",
    "fold_pad": "padding went into the convolution or pool behind it",
    "fold_reshape_target": "a shape that the graph computed in each run became a constant",
    "fold_scale": "the scale of an attention's product went into the weights before it",
    "fold_size": "a size that is fixed is no longer computed in each run",
    "fold_slice_into_gather": "a slice of one element became a look-up of it",
    "fold_sum_into_matmul": "a sum or mean along steps became a product, which runs faster",
    "fuse_any": "the question whether any element is true became one maximum",
    "fuse_clip": "a pair of limits became one Clip",
    "fuse_gelu": "a GELU in several operators became one operator",
    "fuse_group_normalization": "a group normalization in several operators became one of each group",
    "fuse_hard_sigmoid": "a hard sigmoid in several operators became one operator",
    "fuse_layer_normalization": "a layer normalization in several operators became one operator",
    "fuse_layer_normalization_of_rows": "a layer normalization written as a BatchNormalization over rows "
    "became one operator",
    "fuse_leaky_relu": "a LeakyReLU in several operators became one operator",
    "fuse_prelu": "a PReLU in several operators became one operator",
    "fuse_recurrence": "a loop over the steps of a sequence became one LSTM, GRU or RNN operator",
    "fuse_relu": "a ReLU in several operators became one operator",
    "fuse_rms_normalization": "an RMS normalization got the spelling that the runtime fuses",
    "fuse_sigmoid": "a sigmoid in several operators became one operator",
    "fuse_upsampling": "rows and columns that are repeated one by one became one Resize",
    "insert_exponential_into_mish": "a Mish is computed from one exponential",
    "insert_partial_maximum": "a maximum along steps is taken in parts, which runs faster",
    "join_products": "two Dense layers or convolutions with nothing between them became one",
    "raise_size": "a free size is read before a value is moved, so that the move may go",
    "raise_elementwise": "an operator by element went before the moves in front of it, to the layer that it "
    "belongs to",
    "reduce_squeezed": "a reduction took over the axes that were squeezed before it",
    "sink_pad": "padding moved behind what does not mind it, towards its layer",
    "split_batch": "the products of an attention keep their heads as an axis",
    "turn_product": "a product is computed in the order that needs no transposition",
    "unfold_rows": "a product no longer flattens its input to rows",
}


def in_words(rewrite: str) -> str:
    """A rewrite's name in plain words.

    >>> in_words("fuse_gelu"), in_words("fold_something_new")
    ('a GELU in several operators became one operator', 'fold something new')
    """
    return _WORDS.get(rewrite, rewrite.replace("_", " "))
