"""Masks as polygons with attributes, for geographic information systems.

The only module that knows geopandas.
"""

import math
import pathlib
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

try:
    import geopandas
    import pandas
    import shapely
    import shapely.geometry
except ImportError as missing:
    raise ImportError(
        "Polygons need the geo extra, which is not installed: pip install rrsis-jax[geo]"
    ) from missing

from rrsis_jax import io
from rrsis_jax.geospatial import georeference, mask_rasters

FORMATS = {"gpkg": "GPKG", "geojson": "GeoJSON"}  # file suffix → driver


def write(
    path: pathlib.Path,
    expressions: Sequence[str],
    masks: Sequence[pathlib.Path],
    probabilities: Sequence[pathlib.Path],
    crs,
    least_area: float,
) -> list[int]:
    """Writes one polygon for each connected part of each mask.

    Args:
      path: ends in `.gpkg` or `.geojson`; GeoJSON is written in WGS 84, as its standard asks.
      expressions: one for each mask.
      masks: paths of mask maps.
      probabilities: paths of their probability maps.
      crs: of the maps, or None; then `area_m2` is empty, and coordinates are those of the maps'
        transform: pixels where they have none. GeoJSON would be read as degrees then.
      least_area: square metres (pixels without a georeference) below which a part is left out.

    Returns:
      The number of polygons of each mask. Their columns are `expression`, `score`, the mean
      probability, `area_m2`, measured on the ellipsoid of the CRS, and `pixels`.
    """
    parts = []
    for expression, mask, probability in zip(expressions, masks, probabilities, strict=True):
        # Specks are dropped before they fill the memory, with a margin for the rough pixel area.
        shapes = list(mask_rasters.shapes(mask, 0.9 * least_area / _rough_pixel_area(mask, crs)))
        outlines = np.array([shapely.geometry.shape(geometry) for geometry, _ in shapes], object)
        part = {
            "expression": expression,
            "score": _scores(_in_pixels(outlines, mask), probability),
            "area_m2": math.nan,
            "pixels": np.array([pixels for _, pixels in shapes], np.int64),
        }
        part = geopandas.GeoDataFrame(part, geometry=outlines, crs=crs)
        parts.append(_large_enough(part, least_area))
    counts = [len(part) for part in parts]
    table = pandas.concat(parts, ignore_index=True)
    if path.suffix == ".geojson" and crs is not None:
        table = table.to_crs(4326)
    with io.replacing(path) as partial, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")  # a scene may have none
        try:
            table.to_file(
                partial, driver=FORMATS[path.suffix[1:]], layer="polygons", engine="pyogrio"
            )
            written = len(geopandas.read_file(partial, engine="pyogrio", columns=[]))
        except RuntimeError as error:  # pyogrio's kinds, as on a full disk
            told = str(error).replace(partial.name, path.name)
            raise OSError(
                f"{path} could not be written: {told}. Make room on the disk, then give the same "
                "command again."
            ) from error
        if written != len(table):
            raise OSError(f"{path} has {written} of {len(table)} polygons; is the disk full?")
    return counts


def _rough_pixel_area(mask: pathlib.Path, crs) -> float:
    """Returns square metres of a pixel in the middle of a map; 1 without a georeference."""
    return 1.0 if crs is None else math.prod(georeference.pixel_size(georeference.of_file(mask)))


def _in_pixels(outlines: np.ndarray, mask: pathlib.Path) -> np.ndarray:
    """Returns polygons (n,) of a map's coordinates in columns and rows, which are whole numbers.

    In them windows are boxes, however the map lies on the ground.
    """
    a, b, c, d, e, f = (~georeference.of_file(mask).transform)[:6]

    def place(places: np.ndarray) -> np.ndarray:
        x, y = places.T
        return np.rint(np.stack([a * x + b * y + c, d * x + e * y + f], axis=1))

    return shapely.transform(outlines, place)


def _scores(outlines: np.ndarray, probability: pathlib.Path) -> np.ndarray:
    """Returns the mean probability inside each polygon (n,), in columns and rows."""

    def clip(indices: np.ndarray, box: tuple[float, ...]) -> np.ndarray:
        return shapely.clip_by_rect(outlines[indices], *box)

    return mask_rasters.scores(shapely.bounds(outlines).reshape(-1, 4), clip, probability)


def _large_enough(part: geopandas.GeoDataFrame, least_area: float) -> geopandas.GeoDataFrame:
    crs = part.crs
    if crs is not None:
        part["area_m2"] = _ellipsoidal_areas(part, crs)
    enough: Any = part[part["pixels" if crs is None else "area_m2"] >= least_area]
    return enough  # a frame; geopandas says that it may be a column


def _ellipsoidal_areas(table: geopandas.GeoDataFrame, crs: Any) -> list[float]:
    """Returns square metres on the ground, whatever the projection does to areas."""
    geographic = table.to_crs(crs.geodetic_crs) if len(table) else table
    ellipsoid = crs.get_geod()
    oriented = (shapely.geometry.polygon.orient(polygon) for polygon in geographic.geometry)
    return [abs(ellipsoid.geometry_area_perimeter(polygon)[0]) for polygon in oriented]
