"""What a configuration may hold, and where it is found."""
