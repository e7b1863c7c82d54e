"""Maps on disk: from rows of probabilities to cloud-optimised GeoTIFFs, outlines and scores."""

import contextlib
import pathlib
import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from rrsis_jax import io
from rrsis_jax.geospatial import georeference
from rrsis_jax.geospatial.scenes import Scene  # names the extra where rasterio is missing

# isort: split

import rasterio
import rasterio.enums
import rasterio.features
import rasterio.shutil
import rasterio.vrt

MASK_NODATA = 255  # of mask maps, whose values are 0 and 1
PROBABILITY_NODATA = 255  # of probability maps, whose values are 0 to PROBABILITY_STEPS
PROBABILITY_STEPS = 254  # a probability map's value of 1.0, so that 0.5 is a whole number

WORK_BYTES = 2  # a pixel of a work file
_WORK_NODATA = 65535
_WORK_STEPS = 65534
_MAKE_ROOM = "Make room on the disk, then give the same command again; no tile is computed twice."
_BLOCK = 512  # side of the blocks of written files


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
) -> float:
    """Turns a work file into two cloud-optimised GeoTIFFs on the scene's own grid.

    Args:
      scene: the scene that was segmented.
      work: raw rows on the model's grid, described by `write_work_header`.
      expression: stored as the description of the band.
      threshold: probability above which a pixel is in the mask.
      mask_path: uint8 of 0 and 1, 255 without data.
      probability_path: uint8 of 0 to 254, with the scale 1 / 254, and 255 without data.

    Returns:
      The share of the pixels with data that are in the mask, 0 if none has data.

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
    checksums, masked, counted = dict.fromkeys(paths, 0), 0, 0
    for path in partial.values():
        path.unlink(missing_ok=True)  # GDAL does not write over a file that it cannot read
    with _explained(mask_path.parent), contextlib.ExitStack() as stack:
        values = _on_grid(
            stack.enter_context(georeference.open_raster(work)), scene.model_grid, grid, stack
        )
        written = {}
        for name, nodata in (("mask", MASK_NODATA), ("probability", PROBABILITY_NODATA)):
            written[name] = stack.enter_context(
                rasterio.open(partial[name], "w", nodata=nodata, **profile)
            )
            written[name].set_band_description(1, expression)
        written["probability"].scales = (1 / PROBABILITY_STEPS,)
        for window in georeference.windows(grid):
            steps = values.read(1, window=window)
            valid = scene.valid(window) & (steps != _WORK_NODATA)
            scaled = np.rint(steps * (PROBABILITY_STEPS / _WORK_STEPS))
            mask = valid & (steps > threshold * _WORK_STEPS)
            masked, counted = masked + int(mask.sum()), counted + int(valid.sum())
            layers = {
                "mask": np.where(valid, mask, MASK_NODATA),
                "probability": np.where(valid, scaled, PROBABILITY_NODATA),
            }
            for name, layer in layers.items():
                layer = layer.astype(np.uint8)
                written[name].write(layer, 1, window=window)
                checksums[name] = zlib.crc32(layer.data, checksums[name])
    for name, resampling in (("mask", "MODE"), ("probability", "AVERAGE")):
        with _explained(mask_path.parent), io.replacing(paths[name]) as complete:
            _copy_cloud_optimised(partial[name], complete, resampling)
            if _checksum(complete) != checksums[name]:
                raise OSError(f"{paths[name]} could not be written whole. {_MAKE_ROOM}")
        partial[name].unlink()
    return masked / max(1, counted)


def read_reduced_probability(path: pathlib.Path, shape: tuple[int, int]) -> np.ndarray:
    """Reads a probability map averaged down to `shape`: float32, -1 without data."""
    with georeference.open_raster(path) as dataset:
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
    with georeference.open_raster(mask_path) as mask:
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
    clip: Callable[[np.ndarray, tuple[float, ...]], np.ndarray],
    probability_path: pathlib.Path,
) -> np.ndarray:
    """Averages a probability map inside disjoint polygons, reading each of its windows once.

    Args:
      boxes: float (n, 4), least column and row, largest column and row of each polygon.
      clip: from indices of polygons and a box to their geometries inside it, so that a polygon
        with a million corners is not drawn whole in each window it touches.
      probability_path: of a probability map.

    Returns:
      float64 (n,), the mean probability of each polygon's pixels.
    """
    totals, counts = np.zeros((2, len(boxes)))
    with georeference.open_raster(probability_path) as probability:
        for window in georeference.windows(georeference.of_dataset(probability)):
            left, top = window.col_off, window.row_off
            right, bottom = left + window.width, top + window.height
            hit = np.flatnonzero(
                (boxes[:, 0] < right)
                & (boxes[:, 2] > left)
                & (boxes[:, 1] < bottom)
                & (boxes[:, 3] > top)
            )
            pieces = clip(hit, (left, top, right, bottom))
            numbered = [(piece, k) for k, piece in enumerate(pieces, start=1) if not piece.is_empty]
            if not numbered:
                continue
            drawn = rasterio.features.rasterize(
                numbered,
                (window.height, window.width),
                transform=rasterio.Affine.translation(left, top),
                dtype="uint32",
            )
            labels = np.ravel(drawn)
            values = probability.read(1, window=window).ravel()
            totals[hit] += np.bincount(labels, values, len(hit) + 1)[1:]
            counts[hit] += np.bincount(labels, minlength=len(hit) + 1)[1:]
    return totals / (counts * PROBABILITY_STEPS)


def _on_grid(
    dataset, grid: georeference.Grid, wanted: georeference.Grid, stack: contextlib.ExitStack
):
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


def _copy_cloud_optimised(source: pathlib.Path, path: pathlib.Path, resampling: str) -> None:
    """Copies a GeoTIFF with overviews."""
    rasterio.shutil.copy(
        source,
        path,
        driver="COG",
        compress="DEFLATE",
        overview_resampling=resampling,
        bigtiff="IF_SAFER",
    )


def _checksum(path: pathlib.Path) -> int:
    """Returns the CRC-32 of a map's windows: on a full disk GDAL may lose some without a word."""
    checksum = 0
    with rasterio.open(path) as dataset:
        for window in georeference.windows(georeference.of_dataset(dataset)):
            checksum = zlib.crc32(dataset.read(1, window=window), checksum)
    return checksum


@contextlib.contextmanager
def _explained(folder: pathlib.Path) -> Iterator[None]:
    """Turns what GDAL says when it cannot write into what to do about it."""
    try:
        yield
    except georeference.FAULTS as error:
        told = georeference.reason(error).replace(
            f"{folder}/.", f"{folder}/"
        )  # hidden until complete
        raise OSError(f"Maps could not be written to {folder}: {told}. {_MAKE_ROOM}") from error


def _ring_area(ring: Sequence[tuple[float, float]]) -> float:
    """Returns the area of a closed ring in the units of its coordinates."""
    x, y = (np.asarray(ring) - ring[0]).T
    return 0.5 * abs(float(x[:-1] @ y[1:] - x[1:] @ y[:-1]))
