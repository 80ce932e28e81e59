"""Turns the database of an older version into this version's, one step per file in `versions`."""
