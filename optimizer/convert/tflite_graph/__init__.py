"""Writes what a TFLite graph computes in operators that a converter knows."""
