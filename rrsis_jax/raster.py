"""Georeferenced scenes on disk: windowed reading, resampling, and writing of maps.

The only module that knows rasterio. A scene has two grids: its own, on which maps are written,
and the model's, which has the ground sampling distance that the model was trained on. Without a
wanted distance, or without a georeference, the two are the same.
"""

import contextlib
import dataclasses
import math
import pathlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

try:
    import rasterio
    import rasterio.enums
    import rasterio.errors
    import rasterio.features
    import rasterio.shutil
    import rasterio.transform
    import rasterio.vrt
    import rasterio.warp
    import rasterio.windows
except ImportError as missing:
    raise ImportError(
        "GeoTIFFs need the geo extra, which is not installed: pip install rrsis-jax[geo]"
    ) from missing

MASK_NODATA = 255  # of mask maps, whose values are 0 and 1
PROBABILITY_NODATA = 255  # of probability maps, whose values are 0 to PROBABILITY_STEPS
PROBABILITY_STEPS = 254  # a probability map's value of 1.0, so that 0.5 is a whole number

WORK_BYTES = 2  # a pixel of a work file
_WORK_NODATA = 65535
_WORK_STEPS = 65534
_SAME_GSD = 0.02  # relative difference of ground sampling distances that is not worth resampling
_EARTH_RADIUS = 6371008.8  # metres, mean
_OVERVIEW_SIDE = 1024  # pixels of the reduced scene that the stretch is measured on
_BLOCK = 512  # side of the blocks of written files
_CHUNK = 2048  # side of the windows in which maps are written
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
        self.own_grid, self.model_grid = _grid(dataset), _grid(reader)
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
        shape = reduced_shape(self.own_grid, side)
        return self._read(self._dataset, out_shape=shape)

    def valid(self, window: rasterio.windows.Window) -> np.ndarray:
        """Returns bool (h, w): where a window of the scene's own grid has data."""
        return self._values(self._dataset, window=window)[1]

    def measure_limits(self, percentiles: tuple[float, float]) -> None:
        """Sets the stretch to 8 bits from percentiles of each band on a reduced scene.

        Raises:
          ValueError: if the scene has no data at all.
        """
        shape = reduced_shape(self.own_grid, _OVERVIEW_SIDE)
        values, valid = self._values(self._dataset, out_shape=shape)
        if not valid.any():
            raise ValueError(f"{self._dataset.name} has no pixel with data.")
        low, high = np.percentile(values[:, valid].astype(np.float64), percentiles, axis=1)
        self.limits = np.stack([low, np.where(high > low, high, low + 1.0)], axis=1)

    def _read(self, reader, **where: Any) -> tuple[np.ndarray, np.ndarray]:
        values, valid = self._values(reader, **where)
        if self.limits is not None:
            low, high = np.moveaxis(self.limits.astype(np.float32)[..., None, None], 1, 0)
            scaled = (values.astype(np.float32) - low) * (255.0 / (high - low))
            values = np.rint(np.clip(np.where(valid, scaled, 0.0), 0.0, 255.0)).astype(np.uint8)
        return np.moveaxis(values, 0, -1), valid

    def _values(
        self, reader, window: Any = None, out_shape: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the chosen bands (3, h, w) as they are stored, and bool (h, w) of validity."""
        bands_shape = None if out_shape is None else (len(self.bands), *out_shape)
        try:
            values = reader.read(self.bands, window=window, out_shape=bands_shape)
            valid = reader.dataset_mask(window=window, out_shape=out_shape) > 0
        except rasterio.errors.RasterioError as error:
            raise ValueError(f"{self._dataset.name} is damaged: {_reason(error)}.") from error
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
        dataset = stack.enter_context(_open(path))
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


def grid_of(path: pathlib.Path) -> Grid:
    """Returns the grid of a raster on disk."""
    with _open(path) as dataset:
        return _grid(dataset)


def pixel_size(grid: Grid) -> tuple[float, float]:
    """Returns the metres on the ground between pixels, along rows and along columns.

    Measured at the middle of the grid along great circles, so that degrees and the scale of a
    projection are accounted for.
    """
    column, row = grid.width / 2, grid.height / 2
    rows, columns = (row, row, row + 1), (column, column + 1, column)
    corners = rasterio.transform.xy(grid.transform, rows, columns, offset="ul")
    longitudes, latitudes = rasterio.warp.transform(grid.crs, "OGC:CRS84", *corners)
    places = list(zip(longitudes, latitudes, strict=True))
    return _distance(places[0], places[2]), _distance(places[0], places[1])


def reduced_shape(grid: Grid, side: int) -> tuple[int, int]:
    """Returns (height, width) scaled down, never up, to at most `side` pixels."""
    factor = min(1.0, side / max(grid.height, grid.width))
    return max(1, round(grid.height * factor)), max(1, round(grid.width * factor))


def encode_work(probabilities: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Returns the uint16 of the work file for float probabilities; pixels without data marked."""
    steps = np.rint(np.clip(probabilities, 0.0, 1.0) * _WORK_STEPS)
    return np.where(valid, steps, _WORK_NODATA).astype("<u2")


def write_work_header(path: pathlib.Path, height: int, width: int) -> None:
    """Describes raw rows of `encode_work` at `path` so that GDAL can read them (ENVI format)."""
    path.with_suffix(".hdr").write_text(
        f"ENVI\nsamples = {width}\nlines = {height}\nbands = 1\nheader offset = 0\n"
        "file type = ENVI Standard\ndata type = 12\ninterleave = bsq\nbyte order = 0\n"
        f"data ignore value = {_WORK_NODATA}\n"
    )


def write_maps(
    scene: Scene,
    work: pathlib.Path,
    expression: str,
    threshold: float,
    mask_path: pathlib.Path,
    probability_path: pathlib.Path,
) -> None:
    """Turns a work file into two cloud-optimised GeoTIFFs on the scene's own grid.

    Args:
      scene: the scene that was segmented.
      work: raw rows on the model's grid, described by `write_work_header`.
      expression: stored as the description of the band.
      threshold: probability above which a pixel is in the mask.
      mask_path: uint8 of 0 and 1, 255 without data.
      probability_path: uint8 of 0 to 254, with the scale 1 / 254, and 255 without data.

    Raises:
      OSError: if the disk is full or the folder cannot be written to.
    """
    grid = scene.own_grid
    paths = {"mask": mask_path, "probability": probability_path}
    partial = {name: work.with_name(f"{work.stem}_{name}.tif") for name in paths}
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 1,
        "height": grid.height,
        "width": grid.width,
        "crs": grid.crs,
        "transform": grid.transform,
        "tiled": True,
        "blockxsize": _BLOCK,
        "blockysize": _BLOCK,
        "compress": "DEFLATE",
        "zlevel": 1,
        "bigtiff": "IF_SAFER",
    }
    with contextlib.ExitStack() as stack:
        values = _on_grid(stack.enter_context(_open(work)), scene.model_grid, grid, stack)
        written = {}
        for name, nodata in (("mask", MASK_NODATA), ("probability", PROBABILITY_NODATA)):
            written[name] = stack.enter_context(
                rasterio.open(partial[name], "w", nodata=nodata, **profile)
            )
            written[name].set_band_description(1, expression)
        written["probability"].scales = (1 / PROBABILITY_STEPS,)
        for window in _windows(grid):
            found = values.read(1, window=window)
            valid = scene.valid(window) & (found != _WORK_NODATA)
            mask = np.where(valid, found > threshold * _WORK_STEPS, MASK_NODATA)
            scaled = np.rint(found * (PROBABILITY_STEPS / _WORK_STEPS))
            probability = np.where(valid, scaled, PROBABILITY_NODATA)
            written["mask"].write(mask.astype(np.uint8), 1, window=window)
            written["probability"].write(probability.astype(np.uint8), 1, window=window)
    for name, resampling in (("mask", "MODE"), ("probability", "AVERAGE")):
        _write_cloud_optimised(partial[name], paths[name], resampling)
        partial[name].unlink()


def read_reduced_probability(path: pathlib.Path, shape: tuple[int, int]) -> np.ndarray:
    """Reads a probability map averaged down to `shape`: float32, -1 without data."""
    with _open(path) as dataset:
        values = dataset.read(1, out_shape=shape, resampling=rasterio.enums.Resampling.average)
    scaled = values.astype(np.float32) / PROBABILITY_STEPS
    return np.where(values == PROBABILITY_NODATA, np.float32(-1.0), scaled)


def shapes(mask_path: pathlib.Path, least_pixels: float = 0.0) -> Iterator[tuple[dict, int]]:
    """Traces the connected parts of a mask along the borders of pixels.

    Args:
      mask_path: of a mask map.
      least_pixels: parts with fewer pixels are left out.

    Yields:
      GeoJSON geometry in the map's coordinates and the number of pixels; parts that touch at a
      corner only are separate.
    """
    with _open(mask_path) as mask:
        band, pixel_area = rasterio.band(mask, 1), abs(mask.transform.determinant)
        for geometry, value in rasterio.features.shapes(
            band, mask=band, connectivity=4, transform=mask.transform
        ):
            if value == 1:
                outer, *holes = (_ring_area(ring) for ring in geometry["coordinates"])
                pixels = round((outer - sum(holes)) / pixel_area)
                if pixels >= least_pixels:
                    yield geometry, pixels


def scores(
    boxes: np.ndarray,
    clip: Callable[[np.ndarray, tuple[float, ...]], Sequence],
    probability_path: pathlib.Path,
) -> np.ndarray:
    """Averages a probability map inside disjoint polygons, reading each of its windows once.

    Args:
      boxes: float (n, 4), left, bottom, right and top of each polygon.
      clip: from indices of polygons and a box to their geometries inside it, so that a polygon
        with a million corners is not drawn whole in each window it touches.
      probability_path: of a probability map.

    Returns:
      float64 (n,), the mean probability of each polygon's pixels.
    """
    totals, counts = np.zeros((2, len(boxes)))
    with _open(probability_path) as probability:
        for window in _windows(_grid(probability)):
            box = probability.window_bounds(window)
            left, right = sorted(box[0::2])
            bottom, top = sorted(box[1::2])
            hit = np.flatnonzero(
                (boxes[:, 0] < right)
                & (boxes[:, 2] > left)
                & (boxes[:, 1] < top)
                & (boxes[:, 3] > bottom)
            )
            pieces = clip(hit, (left, bottom, right, top))
            numbered = [(piece, k) for k, piece in enumerate(pieces, start=1) if not piece.is_empty]
            if not numbered:
                continue
            found = rasterio.features.rasterize(
                numbered,
                (window.height, window.width),
                transform=probability.window_transform(window),
                dtype="uint32",
            ).ravel()
            values = probability.read(1, window=window).ravel()
            totals[hit] += np.bincount(found, values, len(hit) + 1)[1:]
            counts[hit] += np.bincount(found, minlength=len(hit) + 1)[1:]
    return totals / (counts * PROBABILITY_STEPS)


def _open(path: pathlib.Path):
    if not path.exists():
        raise ValueError(f"There is no image {path}.")
    try:
        return rasterio.open(path)
    except rasterio.errors.RasterioError as error:
        raise ValueError(f"{path} cannot be read as an image: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    return (str(error.__cause__ or error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _grid(dataset) -> Grid:
    return Grid(dataset.crs, dataset.transform, dataset.height, dataset.width)


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
    if gsd is None:
        return dataset, []
    grid = _grid(dataset)
    by_row, by_column = pixel_size(grid)
    if max(abs(by_row / gsd - 1), abs(by_column / gsd - 1)) <= _SAME_GSD:
        return dataset, []
    height = max(1, math.ceil(grid.height * by_row / gsd))
    width = max(1, math.ceil(grid.width * by_column / gsd))
    old, by_x, by_y = grid.transform, grid.width / width, grid.height / height
    transform = rasterio.Affine(
        old.a * by_x, old.b * by_y, old.c, old.d * by_x, old.e * by_y, old.f
    )
    view = rasterio.vrt.WarpedVRT(
        dataset,
        crs=grid.crs,
        transform=transform,
        height=height,
        width=width,
        resampling=rasterio.enums.Resampling.bilinear,
        add_alpha=dataset.nodata is None and not _has_alpha(dataset),
    )
    note = (
        f"{dataset.name} has pixels of {by_column:.3g} × {by_row:.3g} m; it is read at "
        f"{gsd:.3g} m, {width} × {height} pixels."
    )
    return stack.enter_context(view), [note]


def _on_grid(dataset, grid: Grid, wanted: Grid, stack: contextlib.ExitStack):
    """Returns a view of `dataset`, whose pixels lie on `grid`, on another grid of the same CRS."""
    if grid == wanted:
        return dataset
    return stack.enter_context(
        rasterio.vrt.WarpedVRT(
            dataset,
            src_crs=grid.crs,
            src_transform=grid.transform,
            crs=wanted.crs,
            transform=wanted.transform,
            height=wanted.height,
            width=wanted.width,
            resampling=rasterio.enums.Resampling.bilinear,
        )
    )


def _distance(start: tuple[float, float], end: tuple[float, float]) -> float:
    """Returns metres along a great circle between two longitudes and latitudes in degrees."""
    (x0, y0), (x1, y1) = (map(math.radians, place) for place in (start, end))
    haversine = math.sin((y1 - y0) / 2) ** 2
    haversine += math.cos(y0) * math.cos(y1) * math.sin((x1 - x0) / 2) ** 2
    return 2 * _EARTH_RADIUS * math.asin(math.sqrt(haversine))


def _windows(grid: Grid) -> Iterator[rasterio.windows.Window]:
    for row in range(0, grid.height, _CHUNK):
        for column in range(0, grid.width, _CHUNK):
            height, width = min(_CHUNK, grid.height - row), min(_CHUNK, grid.width - column)
            yield rasterio.windows.Window(column, row, width, height)


def _write_cloud_optimised(source: pathlib.Path, path: pathlib.Path, resampling: str) -> None:
    """Copies a GeoTIFF with overviews; it gets its name only when it is complete."""
    partial = path.with_name(f".{path.name}")
    rasterio.shutil.copy(
        source,
        partial,
        driver="COG",
        compress="DEFLATE",
        overview_resampling=resampling,
        bigtiff="IF_SAFER",
    )
    partial.replace(path)


def _ring_area(ring: Sequence[tuple[float, float]]) -> float:
    """Returns the area of a closed ring in the units of its coordinates."""
    x, y = (np.asarray(ring) - ring[0]).T
    return 0.5 * abs(float(x[:-1] @ y[1:] - x[1:] @ y[:-1]))
