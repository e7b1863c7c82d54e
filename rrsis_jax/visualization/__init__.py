"""Overlays and figures of masks."""
