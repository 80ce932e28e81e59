"""Says of what does not convert what it is, where it stands, and which ways round it there are."""
