"""Georeferenced scenes on disk, read in windows, resampled to the model's resolution.

A scene has two grids: its own, on which maps are written, and the model's, which has the ground
sampling distance that the model was trained on. Without a wanted distance, or without a
georeference, the two are the same.
"""

import contextlib
import math
import pathlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rrsis_jax.geospatial import (
    contrast_stretch,
    georeference,  # names the extra where rasterio is missing
)

# isort: split

import rasterio
import rasterio.enums
import rasterio.errors
import rasterio.transform
import rasterio.vrt
import rasterio.windows

_SAME_GSD = 0.02  # relative difference of ground sampling distances that is not worth resampling
_LARGEST_FACTOR = 100  # by which a side is enlarged at most; no detail comes of it
_OVERVIEW_SIDE = 1024  # pixels of the reduced scene that the stretch is measured on
_CACHE_BYTES = 256 << 20  # of GDAL's block cache


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Bounds GDAL's cache; a missing georeference is told by `Scene.notes`, not by warnings."""
    with (
        rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES, GDAL_NUM_THREADS="ALL_CPUS"),
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
      notes: what a user should know about how the scene is read.
      limits: float (3, 2), the band values that become 0 and 255; None if values are kept.
    """

    def __init__(self, dataset, bands: Sequence[int], reader, notes: list[str]):
        """See `open_scene`."""
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

    def read_rows(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads full rows on the model's grid.

        Returns:
          uint8 (rows, width, 3), and bool (rows, width), False where there is no data.

        Raises:
          ValueError: if the file is damaged there.
        """
        window = rasterio.windows.Window(0, start, self.model_grid.width, stop - start)
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

    def measure_limits(self, percentiles: tuple[float, float]) -> None:
        """Sets the stretch to 8 bits from percentiles of each band on a reduced scene.

        Raises:
          ValueError: if the scene has no data at all.
        """
        shape = georeference.reduced_shape(self.own_grid, _OVERVIEW_SIDE)
        values, valid = self._values(self._dataset, out_shape=shape)
        if not valid.any():
            raise ValueError(f"{self._dataset.name} has no pixel with data.")
        try:
            self.limits = contrast_stretch.measure(values, valid, percentiles)
        except ValueError as error:
            raise ValueError(
                f"{self._dataset.name} cannot be stretched to 8 bits: {error}. Convert it first."
            ) from error

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
            valid = reader.dataset_mask(window=window, out_shape=out_shape) > 0
        except georeference.FAULTS as error:
            raise ValueError(
                f"{self._dataset.name} is damaged: {georeference.reason(error)}."
            ) from error
        if values.dtype.kind == "f":
            valid &= np.isfinite(values).all(axis=0)
        return values, valid


@contextlib.contextmanager
def open_scene(
    path: pathlib.Path,
    bands: Sequence[int] | None = None,
    stretch: tuple[float, float] | None = None,
    gsd: float | None = None,
) -> Iterator[Scene]:
    """Opens a scene.

    Args:
      path: a GeoTIFF or another raster that GDAL reads.
      bands: numbers from 1 of the bands to take as red, green and blue. By default those that
        the file calls so, or the first three.
      stretch: percentiles of each band that become 0 and 255. By default 2 and 98 where bands
        are not of 8 bits, and no stretch where they are.
      gsd: metres a pixel to resample to; None takes the scene's pixels as they are.

    Yields:
      A `Scene`.

    Raises:
      ValueError: if the file cannot be read, or the bands do not exist or cannot be chosen.
    """
    with _environment(), contextlib.ExitStack() as stack:
        dataset = stack.enter_context(georeference.open_raster(path))
        chosen = _choose_bands(dataset, bands)
        reader, notes = _reader(dataset, gsd, stack)
        scene = Scene(dataset, chosen, reader, notes)
        eight_bits = all(dataset.dtypes[band - 1] == "uint8" for band in chosen)
        if stretch is not None or not eight_bits:
            scene.measure_limits(stretch or (2.0, 98.0))
            limits = ", ".join(f"{low:g}–{high:g}" for low, high in scene.limits)
            notes.append(f"The values {limits} of bands {chosen} are stretched to 0–255.")
        yield scene


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


def _georeferenced(dataset) -> bool:
    return dataset.crs is not None and not dataset.transform.is_identity


def _has_alpha(dataset) -> bool:
    return rasterio.enums.ColorInterp.alpha in dataset.colorinterp


def _choose_bands(dataset, bands: Sequence[int] | None) -> list[int]:
    names = [interpretation.name for interpretation in dataset.colorinterp]
    if bands is not None:
        if len(bands) != 3 or not all(1 <= band <= dataset.count for band in bands):
            raise ValueError(
                f"The bands are {list(bands)}; give three numbers from 1 to {dataset.count}, the "
                f"bands that {dataset.name} has."
            )
        return list(bands)
    if {"red", "green", "blue"} <= set(names):
        return [names.index(name) + 1 for name in ("red", "green", "blue")]
    coloured = [number for number, name in enumerate(names, start=1) if name != "alpha"]
    if len(coloured) < 3:
        raise ValueError(
            f"{dataset.name} has {len(coloured)} band(s) beside transparency, the model needs "
            "red, green and blue. Choose three with --bands; --bands 1,1,1 takes the first as grey."
        )
    return coloured[:3]


def _reader(dataset, gsd: float | None, stack: contextlib.ExitStack) -> tuple[Any, list[str]]:
    """Returns what the model reads from: the dataset, or a view of it at another resolution."""
    if not _georeferenced(dataset):
        return dataset, [
            f"{dataset.name} has no georeference: a pixel is taken as a pixel, maps have none "
            "either, and areas in square metres are left out."
        ]
    size = _ground_size(dataset)
    if gsd is None:
        return dataset, []
    factors = np.array(size) / gsd
    if not (np.isfinite(factors) & (factors > 0) & (factors <= _LARGEST_FACTOR)).all():
        raise ValueError(
            f"{dataset.name} has pixels of {size[1]:.3g} × {size[0]:.3g} m and gsd is {gsd:g} m. "
            f"Choose a --gsd that enlarges it at most {_LARGEST_FACTOR} times, or none."
        )
    if np.abs(factors - 1).max() <= _SAME_GSD:
        return dataset, []
    try:
        view = stack.enter_context(_resampled(dataset, factors))
    except georeference.FAULTS as error:
        raise ValueError(
            f"{dataset.name} cannot be resampled to a gsd of {gsd:g} m: "
            f"{georeference.reason(error)}. Take the pixels as they are with --gsd none."
        ) from error
    return view, [
        f"{dataset.name} has pixels of {size[1]:.3g} × {size[0]:.3g} m; it is read at "
        f"{gsd:.3g} m, {view.width} × {view.height} pixels."
    ]


def _ground_size(dataset) -> tuple[float, float]:
    """Returns `georeference.pixel_size`, which the areas of polygons need too.

    Raises:
      ValueError: if the georeference has no place on the earth.
    """
    try:
        return georeference.pixel_size(georeference.of_dataset(dataset))
    except (*georeference.FAULTS, ValueError) as error:
        raise ValueError(
            f"{dataset.name} has a georeference that leads nowhere: "
            f"{georeference.reason(error)}. Correct "
            "it, or take pixels as pixels after `gdal_edit.py -unsetgt -a_srs None`."
        ) from error


def _resampled(dataset, factors: np.ndarray):
    """Returns a view with `factors` times the rows and columns."""
    height, width = (max(1, math.ceil(x)) for x in factors * (dataset.height, dataset.width))
    old = dataset.transform
    by_x, by_y = dataset.width / width, dataset.height / height
    return rasterio.vrt.WarpedVRT(
        dataset,
        crs=dataset.crs,
        transform=rasterio.Affine(
            old.a * by_x, old.b * by_y, old.c, old.d * by_x, old.e * by_y, old.f
        ),
        height=height,
        width=width,
        resampling=rasterio.enums.Resampling.bilinear,
        add_alpha=dataset.nodata is None and not _has_alpha(dataset),
    )
