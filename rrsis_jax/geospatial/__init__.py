"""Georeferenced rasters and polygons; knows no model."""
