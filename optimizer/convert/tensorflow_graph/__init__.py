"""Rewrites a TensorFlow graph before its conversion: inlined, cleaned, real, without large weights."""
