"""Turns loops over a sequence into the operators LSTM, GRU and RNN."""

from optimizer.graph.rewrites.recurrence.fuse import FUSE_RECURRENCE
from optimizer.graph.rewrites.recurrence.states import ELIMINATE_ZERO_STATES, FOLD_LAST_STEP

__all__ = ["ELIMINATE_ZERO_STATES", "FOLD_LAST_STEP", "FUSE_RECURRENCE"]
