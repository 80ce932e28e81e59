"""Turns HTTP requests into calls of `Jobs`, and what they find into JSON, files and problems."""
