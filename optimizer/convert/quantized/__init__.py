"""Keeps what an upload rounds as it was: integers stay integers, in the form that runs fast."""
