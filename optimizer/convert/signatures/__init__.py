"""Chooses a signature, and saves one whose inputs have names that a signature cannot hold."""
