"""Turns what exporters leave behind into fewer and better operators: one family of rewrites a file."""

from optimizer.graph.rewriter import Rewrite
from optimizer.graph.rewrites.affine import FOLD_AFFINE
from optimizer.graph.rewrites.attention import FOLD_SCALE, SPLIT_BATCH, TURN_PRODUCT
from optimizer.graph.rewrites.elementwise import RAISE_ELEMENTWISE
from optimizer.graph.rewrites.expansion import ELIMINATE_EXPAND, REDUCE_SQUEEZED
from optimizer.graph.rewrites.gelu import FUSE_GELU
from optimizer.graph.rewrites.layer_normalization import (
    FUSE_LAYER_NORMALIZATION,
    FUSE_LAYER_NORMALIZATION_OF_ROWS,
)
from optimizer.graph.rewrites.lookups import FOLD_INTO_TABLE, FOLD_ONE_HOT_INTO_MATMUL
from optimizer.graph.rewrites.moves import COLLAPSE_MOVES
from optimizer.graph.rewrites.padding import FOLD_PAD, SINK_PAD
from optimizer.graph.rewrites.recurrence import ELIMINATE_ZERO_STATES, FOLD_LAST_STEP, FUSE_RECURRENCE
from optimizer.graph.rewrites.reshapes import ELIMINATE_RESHAPES_AROUND_MATMUL, FOLD_RESHAPE_TARGET
from optimizer.graph.rewrites.rows import UNFOLD_ROWS
from optimizer.graph.rewrites.slices import ELIMINATE_INDEX_WRAP, ELIMINATE_SLICE, FOLD_SLICE_INTO_GATHER
from optimizer.graph.rewrites.upsampling import FUSE_UPSAMPLING

REWRITES: tuple[Rewrite, ...] = (
    FUSE_RECURRENCE,
    ELIMINATE_ZERO_STATES,
    FOLD_LAST_STEP,
    # Shapes first: what stands between two operators hides their pattern.
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
    FUSE_GELU,
    FOLD_AFFINE,
    # Products of heads: scales go into weights before the moves around a product are joined with it.
    FOLD_SCALE,
    SPLIT_BATCH,
    TURN_PRODUCT,
    ELIMINATE_EXPAND,
    ELIMINATE_SLICE,
    FOLD_SLICE_INTO_GATHER,
    ELIMINATE_INDEX_WRAP,
    # Tables last: what follows a look-up is fewer operators by then.
    FOLD_ONE_HOT_INTO_MATMUL,
    FOLD_INTO_TABLE,
)

__all__ = ["REWRITES"]
