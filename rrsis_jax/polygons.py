"""Masks as polygons with attributes, for geographic information systems.

The only module that knows geopandas.
"""

import math
import pathlib
import warnings
from collections.abc import Sequence

try:
    import geopandas
    import shapely
    import shapely.geometry
except ImportError as missing:
    raise ImportError(
        "Polygons need the geo extra, which is not installed: pip install rrsis-jax[geo]"
    ) from missing

from rrsis_jax import raster

FORMATS = {"gpkg": "GPKG", "geojson": "GeoJSON"}  # file suffix → driver


def write(
    path: pathlib.Path,
    expressions: Sequence[str],
    masks: Sequence[pathlib.Path],
    probabilities: Sequence[pathlib.Path],
    crs,
    least_area: float = 0.0,
) -> list[int]:
    """Writes one polygon for each connected part of each mask.

    Args:
      path: ends in `.gpkg` or `.geojson`; GeoJSON is written in WGS 84, as its standard asks.
      expressions: one for each mask.
      masks: paths of mask maps.
      probabilities: paths of their probability maps.
      crs: of the maps, or None; then coordinates are pixels and `area_m2` is empty.
      least_area: square metres (pixels without a georeference) below which a part is left out.

    Returns:
      The number of polygons of each mask. Their columns are `expression`, `score`, the mean
      probability, `area_m2`, measured on the ellipsoid of the CRS, and `pixels`.
    """
    found = [
        (number, score, pixels, shapely.geometry.shape(geometry))
        for number, paths in enumerate(zip(masks, probabilities, strict=True))
        for geometry, score, pixels in raster.shapes(*paths)
    ]
    table = geopandas.GeoDataFrame(
        {
            "number": [f[0] for f in found],
            "expression": [expressions[f[0]] for f in found],
            "score": [f[1] for f in found],
            "area_m2": math.nan,
            "pixels": [f[2] for f in found],
        },
        geometry=[f[3] for f in found],
        crs=crs,
    )
    if crs is not None:
        table["area_m2"] = _ellipsoidal_areas(table)
    table = table[table["pixels" if crs is None else "area_m2"] >= least_area]
    if path.suffix == ".geojson" and crs is not None:
        table = table.to_crs(4326)
    partial = path.with_name(f".{path.name}")
    counts = [int((table["number"] == number).sum()) for number in range(len(expressions))]
    table = table.drop(columns="number")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")  # a scene may have none
        table.to_file(partial, driver=FORMATS[path.suffix[1:]], layer="polygons", engine="pyogrio")
    partial.replace(path)
    return counts


def _ellipsoidal_areas(table: geopandas.GeoDataFrame) -> list[float]:
    """Returns square metres on the ground, whatever the projection does to areas."""
    geographic = table.to_crs(table.crs.geodetic_crs) if len(table) else table
    ellipsoid = table.crs.get_geod()
    oriented = (shapely.geometry.polygon.orient(polygon) for polygon in geographic.geometry)
    return [abs(ellipsoid.geometry_area_perimeter(polygon)[0]) for polygon in oriented]
