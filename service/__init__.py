"""Turns requests over HTTP into jobs that survive a restart, and their results into downloads."""
