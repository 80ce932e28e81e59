"""Turns each stage's request into calls of the rooms: one file a stage, reading files and writing files."""
