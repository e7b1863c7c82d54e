"""Georeferenced scenes on disk, read in windows, resampled to the model's resolution.

A scene has two grids: its own, on which maps are written, and the model's, which has the ground
sampling distance that the model was trained on. Without a wanted distance, or without a
georeference, the two are the same.

Whether a pixel has data is told by its bands' nodata values, by transparency and by masks. Where
bands have 8 bits a pixel without data lacks it in all chosen bands, for 0 in one of them is a
colour; in other bands, as with missing numbers, one is enough.
"""

import contextlib
import math
import pathlib
import warnings
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rrsis_jax import constants
from rrsis_jax.geospatial import (
    contrast_stretch,
    georeference,
    virtual_rasters,  # or names the missing extra
)

# isort: split

import rasterio
import rasterio.enums
import rasterio.errors
import rasterio.transform
import rasterio.windows

_SAME_GSD = 0.02  # relative difference of ground sampling distances that is not worth resampling
_LARGEST_FACTOR = 100  # by which a side is enlarged at most; no detail comes of it
_OVERVIEW_SIDE = 1024  # pixels of the reduced scene that the stretch is measured on
_BORDER_SHARE = 0.2  # of the outermost pixels that hold one value, from which on it is told
_CACHE_BYTES = 256 << 20  # of GDAL's block cache


@contextlib.contextmanager
def _environment(path: pathlib.Path | str) -> Iterator[None]:
    """Bounds GDAL's cache; a missing georeference is told by `Scene.notes`, not by warnings.

    Virtual files are read by one thread: with several, GDAL 3.10 gives zeros without a fault
    where a server does not deliver a part of a file.
    """
    threads = "1" if str(path).startswith(constants.VIRTUAL_ROOT) else "ALL_CPUS"
    with (
        rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES, GDAL_NUM_THREADS=threads),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield


class Scene:
    """An opened scene that is read in windows.

    Attributes:
      bands: the numbers of the bands taken as red, green and blue.
      own_grid: the scene's grid.
      model_grid: the grid that `read_rows` reads on.
      name: the path it was opened by.
      notes: what a user should know about how the scene is read.
      limits: float (3, 2), the band values that become 0 and 255; None if values stay.
    """

    def __init__(self, name: str, dataset, bands: Sequence[int], reader, notes: list[str]):
        """See `open_scene`."""
        self.name = name
        self._dataset, self._reader, self.bands = dataset, reader, list(bands)
        self.own_grid, self.model_grid = (
            georeference.of_dataset(dataset),
            georeference.of_dataset(reader),
        )
        self.notes = notes
        self.limits: np.ndarray | None = None

    @property
    def georeferenced(self) -> bool:
        """Whether pixels have a place on the ground."""
        return _georeferenced(self._dataset)

    def metres_a_pixel(self, grid: georeference.Grid) -> float | None:
        """Returns the mean side of a pixel of one of the grids on the ground, None if unknown."""
        return math.sqrt(math.prod(georeference.pixel_size(grid))) if self.georeferenced else None

    def read_rows(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads full rows on the model's grid.

        Returns:
          uint8 (rows, width, 3), and bool (rows, width), False where there is no data.

        Raises:
          ValueError: if the file is damaged there.
        """
        window = rasterio.windows.Window.from_slices((start, stop), (0, self.model_grid.width))
        return self._read(self._reader, window=window)

    def read_reduced(self, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads the whole scene on its own grid, reduced to at most `side` pixels; as `read_rows`.

        Raises:
          ValueError: if the file is damaged.
        """
        shape = georeference.reduced_shape(self.own_grid, side)
        return self._read(self._dataset, out_shape=shape)

    def valid(self, window: rasterio.windows.Window) -> np.ndarray:
        """Returns bool (h, w): where a window of the scene's own grid has data."""
        return self._values(self._dataset, window=window)[1]

    def survey(self, stretch: tuple[float, float] | None) -> None:
        """Looks at the whole scene, reduced: whether it has data, its border, its fingerprint.

        Args:
          stretch: percentiles of each band that become 0 and 255; None keeps the values.

        Raises:
          ValueError: if the scene has no data at all, or cannot be stretched.
        """
        shape = georeference.reduced_shape(self.own_grid, _OVERVIEW_SIDE)
        values, valid = self._values(self._dataset, out_shape=shape)
        self.fingerprint = zlib.crc32(np.ascontiguousarray(values).data, zlib.crc32(valid.data))
        self.notes += _border_notes(values, valid)
        if not valid.any():  # a place smaller than a reduced pixel may have some
            values, valid = self._first_window_with_data()
        if stretch is None:
            return
        try:
            self.limits = contrast_stretch.measure(values, valid, stretch)
        except ValueError as error:
            raise ValueError(
                f"{self.name} cannot be stretched to 8 bits: {error}. Convert it first."
            ) from error
        limits = ", ".join(f"{low:g}–{high:g}" for low, high in self.limits)
        self.notes.append(f"The values {limits} of bands {self.bands} are stretched to 0–255.")

    def _first_window_with_data(self) -> tuple[np.ndarray, np.ndarray]:
        for window in georeference.windows(self.own_grid):
            values, valid = self._values(self._dataset, window=window)
            if valid.any():
                return values, valid
        raise ValueError(
            f"{self.name} has no pixel with data: all are nodata, transparent or masked. Check "
            "the file, its nodata value and --nodata."
        )

    def _read(self, reader, **where: Any) -> tuple[np.ndarray, np.ndarray]:
        values, valid = self._values(reader, **where)
        if self.limits is not None:
            values = contrast_stretch.apply(values, valid, self.limits)
        return np.moveaxis(values, 0, -1), valid

    def _values(
        self, reader, window: Any = None, out_shape: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the chosen bands (3, h, w) as they are stored, and bool (h, w) of validity."""
        bands_shape = None if out_shape is None else (len(self.bands), *out_shape)
        try:
            values = reader.read(self.bands, window=window, out_shape=bands_shape)
            masks = reader.read_masks(self.bands, window=window, out_shape=bands_shape) > 0
            valid = reader.dataset_mask(window=window, out_shape=out_shape) > 0
        except georeference.FAULTS as error:
            raise ValueError(f"{self.name} is damaged: {georeference.reason(error)}.") from error
        valid &= masks.any(axis=0) if values.dtype == np.uint8 else masks.all(axis=0)
        if values.dtype.kind == "f":
            valid &= np.isfinite(values).all(axis=0)
        return values, valid


@contextlib.contextmanager
def open_scene(
    path: pathlib.Path | str,
    bands: Sequence[int] | None = None,
    stretch: tuple[float, float] | None = None,
    gsd: float | None = None,
    nodata: float | None = None,
) -> Iterator[Scene]:
    """Opens a scene.

    Args:
      path: a GeoTIFF or another raster that GDAL reads; text for one in a virtual file system,
        see `georeference.open_raster`.
      bands: numbers from 1 of the bands to take as red, green and blue. By default those that
        the file calls so, or the first three. A palette is read as red, green, blue and alpha.
      stretch: percentiles of each band that become 0 and 255. By default 2 and 98 where bands
        are not of 8 bits, and no stretch where they are.
      gsd: metres a pixel to resample to; None takes the scene's pixels as they are.
      nodata: value of pixels without data; None takes what the file says.

    Yields:
      A `Scene`.

    Raises:
      ValueError: if the file cannot be read or has no data, or the bands do not exist or cannot
        be chosen.
    """
    name = str(path)
    with _environment(path), contextlib.ExitStack() as stack:
        dataset = virtual_rasters.open_as_told(path, nodata, stack)
        chosen = _choose_bands(dataset, bands, name)
        reader, notes = _reader(dataset, gsd, name, stack)
        scene = Scene(name, dataset, chosen, reader, notes)
        if not all(dataset.dtypes[band - 1] == "uint8" for band in chosen):
            stretch = stretch or (2.0, 98.0)
        scene.survey(stretch)
        yield scene


def check_choice(
    path: pathlib.Path | str,
    bands: Sequence[int] | None,
    nodata: float | None,
    vector: str | None,
) -> None:
    """Refuses what cannot be done with a scene, as far as can be told without reading pixels.

    Args:
      path: see `open_scene`, like `bands` and `nodata`.
      bands: of red, green and blue.
      nodata: value of pixels without data.
      vector: see `check_vector`.

    Raises:
      ValueError: if the file cannot be opened, the bands do not exist or cannot be chosen, or
        polygons cannot have that format.
    """
    with _environment(path), contextlib.ExitStack() as stack:
        dataset = virtual_rasters.open_as_told(path, nodata, stack)
        _choose_bands(dataset, bands, str(path))
        check_vector(vector, _georeferenced(dataset), str(path))


def check_vector(vector: str | None, georeferenced: bool, name: str) -> None:
    """Refuses GeoJSON, whose numbers are read as degrees, of a scene without a place on earth.

    Raises:
      ValueError: if `vector` is "geojson" and the scene `name` is not georeferenced.
    """
    if vector == "geojson" and not georeferenced:
        raise ValueError(
            f"Numbers in GeoJSON are read as degrees, and where on earth {name} lies is not "
            "known. Choose gpkg (--vector gpkg), or tell its coordinate reference system with "
            "`gdal_edit.py -a_srs EPSG:…` if it has a geotransform."
        )


def write_scene(
    path: pathlib.Path, pixels: np.ndarray, crs: str, corner: tuple[float, float], gsd: float
) -> None:
    """Writes pixels as a georeferenced GeoTIFF, north up.

    Args:
      path: the file to write; an older one is replaced.
      pixels: uint8 (H, W, 3), red, green and blue.
      crs: a coordinate reference system, like "EPSG:32633".
      corner: x and y of the upper left corner, in units of the CRS.
      gsd: side of a pixel, in units of the CRS.
    """
    height, width, bands = pixels.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=bands,
        dtype=pixels.dtype,
        photometric="RGB",
        crs=crs,
        transform=rasterio.transform.from_origin(*corner, gsd, gsd),
    ) as dataset:
        dataset.write(np.moveaxis(pixels, -1, 0))


def _border_notes(values: np.ndarray, valid: np.ndarray) -> list[str]:
    """Tells of a border that holds one value and counts as data.

    Args:
      values: (bands, h, w).
      valid: bool (h, w).
    """
    layers = np.concatenate([values, valid[None].astype(values.dtype)])
    sides = (layers[:, 0], layers[:, -1], layers[:, 1:-1, 0], layers[:, 1:-1, -1])
    *bands, valid = np.concatenate(sides, axis=1)
    grey = bands[0][(valid > 0) & np.equal(bands, bands[0]).all(axis=0)]
    candidates, counts = np.unique(grey, return_counts=True)
    if not counts.size or counts.max() < _BORDER_SHARE * valid.size:
        return []
    share, value = counts.max() / valid.size, candidates[counts.argmax()]
    return [
        f"{100 * share:.0f} % of the outermost pixels have the value {value:g} in all bands and "
        f"count as data. If that is a border without data, add --nodata {value:g} (in Python "
        f"nodata={value:g})."
    ]


def _georeferenced(dataset) -> bool:
    return dataset.crs is not None and not dataset.transform.is_identity


def _choose_bands(dataset, bands: Sequence[int] | None, name: str) -> list[int]:
    names = [interpretation.name for interpretation in dataset.colorinterp]
    if bands is not None:
        if len(bands) != 3 or not all(1 <= band <= dataset.count for band in bands):
            raise ValueError(
                f"The bands are {list(bands)}; give three numbers from 1 to {dataset.count}, the "
                f"bands that {name} has."
            )
        return list(bands)
    if {"red", "green", "blue"} <= set(names):
        return [names.index(name) + 1 for name in ("red", "green", "blue")]
    coloured = [number for number, name in enumerate(names, start=1) if name != "alpha"]
    if len(coloured) < 3:
        raise ValueError(
            f"{name} has {len(coloured)} band(s) beside transparency, the model needs "
            "red, green and blue. Choose three with --bands; --bands 1,1,1 takes the first as grey."
        )
    return coloured[:3]


def _reader(
    dataset, gsd: float | None, name: str, stack: contextlib.ExitStack
) -> tuple[Any, list[str]]:
    """Returns what the model reads from: the dataset, or a view of it at another resolution."""
    if not _georeferenced(dataset):
        return dataset, [_place_note(dataset, name)]
    size = _ground_size(dataset, name)
    if gsd is None:
        return dataset, []
    factors = np.array(size) / gsd
    if not (np.isfinite(factors) & (factors > 0) & (factors <= _LARGEST_FACTOR)).all():
        raise ValueError(
            f"{name} has pixels of {size[1]:.3g} × {size[0]:.3g} m and gsd is {gsd:g} m. "
            f"Choose a --gsd that enlarges it at most {_LARGEST_FACTOR} times, or none."
        )
    if np.abs(factors - 1).max() <= _SAME_GSD:
        return dataset, []
    try:
        view = stack.enter_context(virtual_rasters.resampled(dataset, factors))
    except georeference.FAULTS as error:
        raise ValueError(
            f"{name} cannot be resampled to a gsd of {gsd:g} m: "
            f"{georeference.reason(error)}. Take the pixels as they are with --gsd none."
        ) from error
    return view, [
        f"{name} has pixels of {size[1]:.3g} × {size[0]:.3g} m; it is read at "
        f"{gsd:.3g} m, {view.width} × {view.height} pixels."
    ]


def _place_note(dataset, name: str) -> str:
    """Returns what follows from not knowing where on the ground a scene lies."""
    if dataset.transform.is_identity:
        return (
            f"{name} has no georeference: a pixel is taken as a pixel, maps have none "
            "either, and areas in square metres are left out."
        )
    return (
        f"{name} has a geotransform but no coordinate reference system: maps and polygons keep "
        "its coordinates, a pixel is taken as a pixel, and areas in square metres are left out. "
        "`gdal_edit.py -a_srs EPSG:…` tells the system, where it is known."
    )


def _ground_size(dataset, name: str) -> tuple[float, float]:
    """Returns `georeference.pixel_size`, which the areas of polygons need too.

    Raises:
      ValueError: if the georeference has no place on the earth.
    """
    try:
        return georeference.pixel_size(georeference.of_dataset(dataset))
    except (*georeference.FAULTS, ValueError) as error:
        raise ValueError(
            f"{name} has a georeference that leads nowhere: "
            f"{georeference.reason(error)}. Correct "
            "it, or take pixels as pixels after `gdal_edit.py -unsetgt -a_srs None`."
        ) from error
