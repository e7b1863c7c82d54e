"""The commands: their options and their sentences."""
