"""Turns loops over a sequence into the operators LSTM, GRU and RNN."""

from optimizer.graph.rewrites.recurrence.fuse import FUSE_RECURRENCE
from optimizer.graph.rewrites.recurrence.states import DROP_ZERO_STATES, TAKE_LAST_STATE

__all__ = ["DROP_ZERO_STATES", "FUSE_RECURRENCE", "TAKE_LAST_STATE"]
