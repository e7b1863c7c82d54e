"""What a configuration may hold, and where it lies."""
