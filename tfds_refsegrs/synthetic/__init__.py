"""Synthetic scenes in RefSegRS's layout: plans, pictures, phrases."""
