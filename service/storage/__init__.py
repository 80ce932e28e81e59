"""Keeps what the server must not lose: files by their hash, and rows in SQLite."""
