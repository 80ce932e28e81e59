"""Turns uploads and results into files named by their hash, and jobs into rows of one database."""
