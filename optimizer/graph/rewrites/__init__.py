"""Turns what exporters leave behind into fewer and better operators: one family of rewrites a file."""

from optimizer.graph.rewriter import Rewrite
from optimizer.graph.rewrites.affine import FOLD_AFFINE
from optimizer.graph.rewrites.affine_forwards import COLLAPSE_CONSTANTS, FOLD_AFFINE_FORWARDS
from optimizer.graph.rewrites.attention import FOLD_SCALE, SPLIT_BATCH, TURN_PRODUCT
from optimizer.graph.rewrites.clipping import (
    FUSE_CLIP,
    FUSE_HARD_SIGMOID,
    FUSE_LEAKY_RELU,
    FUSE_PRELU,
    FUSE_RELU,
)
from optimizer.graph.rewrites.elementwise import RAISE_ELEMENTWISE
from optimizer.graph.rewrites.expansion import ELIMINATE_EXPAND, REDUCE_SQUEEZED
from optimizer.graph.rewrites.flags import FOLD_AXES_INTO_REDUCTION, FOLD_COMPARISON_WITH_ZERO, FUSE_ANY
from optimizer.graph.rewrites.gelu import FUSE_GELU
from optimizer.graph.rewrites.group_normalization import FUSE_GROUP_NORMALIZATION
from optimizer.graph.rewrites.layer_normalization import (
    FUSE_LAYER_NORMALIZATION,
    FUSE_LAYER_NORMALIZATION_OF_ROWS,
)
from optimizer.graph.rewrites.lookup_convolutions import FOLD_CONV_INTO_TABLES
from optimizer.graph.rewrites.lookups import FOLD_INTO_TABLE, FOLD_ONE_HOT_INTO_MATMUL
from optimizer.graph.rewrites.moves import COLLAPSE_MOVES
from optimizer.graph.rewrites.padding import FOLD_PAD, SINK_PAD
from optimizer.graph.rewrites.parts import COLLAPSE_GATHERS, COLLAPSE_PARTS, COLLAPSE_SLICES
from optimizer.graph.rewrites.products import JOIN_PRODUCTS
from optimizer.graph.rewrites.recurrence import ELIMINATE_ZERO_STATES, FOLD_LAST_STEP, FUSE_RECURRENCE
from optimizer.graph.rewrites.reductions import FOLD_SUM_INTO_MATMUL, INSERT_PARTIAL_MAXIMUM
from optimizer.graph.rewrites.reshapes import (
    ELIMINATE_RESHAPES_AROUND_MATMUL,
    FOLD_RESHAPE_TARGET,
    FOLD_SIZE,
    RAISE_SIZE,
)
from optimizer.graph.rewrites.rms_normalization import FUSE_RMS_NORMALIZATION
from optimizer.graph.rewrites.rows import UNFOLD_ROWS
from optimizer.graph.rewrites.slices import ELIMINATE_INDEX_WRAP, ELIMINATE_SLICE, FOLD_SLICE_INTO_GATHER
from optimizer.graph.rewrites.smooth_activations import FUSE_SIGMOID, INSERT_EXPONENTIAL_INTO_MISH
from optimizer.graph.rewrites.upsampling import FUSE_UPSAMPLING

REWRITES: tuple[Rewrite, ...] = (
    FUSE_RECURRENCE,
    ELIMINATE_ZERO_STATES,
    FOLD_LAST_STEP,
    FOLD_COMPARISON_WITH_ZERO,
    FOLD_AXES_INTO_REDUCTION,
    FUSE_ANY,
    # Shapes first: what stands between two operators hides their pattern.
    FOLD_SIZE,
    RAISE_SIZE,
    FOLD_RESHAPE_TARGET,
    FUSE_UPSAMPLING,
    COLLAPSE_MOVES,
    ELIMINATE_RESHAPES_AROUND_MATMUL,
    UNFOLD_ROWS,
    # Elementwise operators leave the chains of moves, which then are one, and stand beside their layers.
    RAISE_ELEMENTWISE,
    REDUCE_SQUEEZED,
    SINK_PAD,
    FOLD_PAD,
    FUSE_LAYER_NORMALIZATION,
    FUSE_LAYER_NORMALIZATION_OF_ROWS,
    FUSE_GROUP_NORMALIZATION,
    FUSE_RMS_NORMALIZATION,
    FUSE_GELU,
    # Parts before the whole, Clip before Relu, which is half of one.
    FUSE_CLIP,
    FUSE_LEAKY_RELU,
    FUSE_RELU,
    FUSE_PRELU,
    FUSE_HARD_SIGMOID,
    FUSE_SIGMOID,
    INSERT_EXPONENTIAL_INTO_MISH,
    FOLD_AFFINE,
    FOLD_AFFINE_FORWARDS,
    COLLAPSE_CONSTANTS,
    # What stood between two layers, a scale or a bias, has gone by now.
    JOIN_PRODUCTS,
    # Products of heads: scales go into weights before the moves around a product are joined with it.
    FOLD_SCALE,
    SPLIT_BATCH,
    TURN_PRODUCT,
    ELIMINATE_EXPAND,
    ELIMINATE_SLICE,
    FOLD_SLICE_INTO_GATHER,
    # What is sliced behind a slice of one element has become a look-up of it by now.
    COLLAPSE_SLICES,
    COLLAPSE_PARTS,
    ELIMINATE_INDEX_WRAP,
    COLLAPSE_GATHERS,
    # Tables last: what follows a look-up is fewer operators by then.
    FOLD_ONE_HOT_INTO_MATMUL,
    FOLD_INTO_TABLE,
    FOLD_CONV_INTO_TABLES,
    # How a reduction is computed comes last: norms are recognized by theirs.
    FOLD_SUM_INTO_MATMUL,
    INSERT_PARTIAL_MAXIMUM,
)

__all__ = ["REWRITES"]
