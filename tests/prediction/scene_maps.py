"""What tests of scene jobs share: expressions, the maps of a job, and when one is stopped."""

import itertools

import rasterio

PHRASES = ["tree", "red car"]


def open_map(folder, kind, number=1):
    stem = {1: "01_tree", 2: "02_red_car"}[number]
    with rasterio.open(folder / f"{stem}_{kind}.tif") as dataset:
        facts = {
            "scale": dataset.scales[0],
            "description": dataset.descriptions[0],
            "layout": dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"],
        }
        return dataset.read(1), dataset.profile, facts


def after(count):
    """Returns a question that is answered with yes at its `count`-th time."""
    times = itertools.count(1)
    return lambda: next(times) == count
