"""Phrases to token ids."""
