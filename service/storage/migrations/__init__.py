"""Changes of the server's own tables, in order."""
