"""Rasters on the ground: opening a file, where its pixels lie, and how large they are."""

import dataclasses
import math
import pathlib
from collections.abc import Iterator
from typing import Any

from rrsis_jax import constants, errors

try:
    import rasterio
    import rasterio.errors
    import rasterio.transform
    import rasterio.warp
    import rasterio.windows
except ImportError as missing:
    raise ImportError(
        "GeoTIFFs need the geo extra, which is not installed: pip install rrsis-jax[geo]"
    ) from missing


def _gdal_error() -> type[Exception]:
    """Returns the base of GDAL's own errors, some of which rasterio lets through.

    It has no public name in rasterio 1.4; `tests/geospatial/scenes_test.py` names the release in
    which this one has gone.
    """
    from rasterio import _err  # pyright: ignore[reportAttributeAccessIssue] - a compiled module

    return _err.CPLE_BaseError


FAULTS = (rasterio.errors.RasterioError, _gdal_error())
_EARTH_RADIUS = 6371008.8  # metres, mean
_CHUNK = 2048  # side of the windows in which maps are written and read


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where pixels lie.

    Attributes:
      crs: rasterio's coordinate reference system, or None.
      transform: affine map from columns and rows to coordinates.
      height: rows.
      width: columns.
    """

    crs: Any
    transform: Any
    height: int
    width: int


def open_raster(path: pathlib.Path | str):
    """Opens a raster with rasterio.

    Args:
      path: of a file, or in one of GDAL's virtual file systems, like "/vsizip/a.zip/b.tif"; such
        a one has to be text, since its double slashes count.

    Raises:
      ValueError: if there is none, or it cannot be read.
    """
    if not str(path).startswith(constants.VIRTUAL_ROOT) and not pathlib.Path(path).is_file():
        raise ValueError(f"There is no image {path}.")
    try:
        return rasterio.open(path)
    except FAULTS as error:
        raise ValueError(f"{path} cannot be read as an image: {reason(error)}.") from error


def reason(error: Exception) -> str:
    """Returns the first line of what GDAL says."""
    return errors.first_line(error.__cause__ or error)


def of_dataset(dataset) -> Grid:
    """Returns the grid of an opened raster."""
    return Grid(dataset.crs, dataset.transform, dataset.height, dataset.width)


def of_file(path: pathlib.Path) -> Grid:
    """Returns the grid of a raster on disk."""
    with open_raster(path) as dataset:
        return of_dataset(dataset)


def pixel_size(grid: Grid) -> tuple[float, float]:
    """Returns the metres on the ground between pixels, along rows and along columns.

    Measured at the middle of the grid along great circles, so that degrees and the scale of a
    projection are accounted for.
    """
    column, row = grid.width / 2, grid.height / 2
    rows, columns = (row, row, row + 1), (column, column + 1, column)
    corners = rasterio.transform.xy(grid.transform, rows, columns, offset="ul")
    longitudes, latitudes = rasterio.warp.transform(grid.crs, "OGC:CRS84", *corners)[:2]
    places = list(zip(longitudes, latitudes, strict=True))
    return _distance(places[0], places[2]), _distance(places[0], places[1])


def reduced_shape(grid: Grid, side: int) -> tuple[int, int]:
    """Returns (height, width) scaled down, never up, to at most `side` pixels."""
    factor = min(1.0, side / max(grid.height, grid.width))
    return max(1, round(grid.height * factor)), max(1, round(grid.width * factor))


def windows(grid: Grid) -> Iterator[rasterio.windows.Window]:
    """Yields windows that cover a grid, row by row."""
    for row in range(0, grid.height, _CHUNK):
        for column in range(0, grid.width, _CHUNK):
            rows = row, min(row + _CHUNK, grid.height)
            columns = column, min(column + _CHUNK, grid.width)
            yield rasterio.windows.Window.from_slices(rows, columns)


def _distance(start: tuple[float, float], end: tuple[float, float]) -> float:
    """Returns metres along a great circle between two longitudes and latitudes in degrees."""
    (x0, y0), (x1, y1) = (map(math.radians, place) for place in (start, end))
    haversine = math.sin((y1 - y0) / 2) ** 2
    haversine += math.cos(y0) * math.cos(y1) * math.sin((x1 - x0) / 2) ** 2
    return 2 * _EARTH_RADIUS * math.asin(math.sqrt(haversine))
