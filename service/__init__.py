"""Puts the optimizer behind REST: durable jobs, stored files, measured answers."""
