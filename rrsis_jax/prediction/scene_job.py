"""A scene of any size and expressions → maps, polygons and a picture in a folder.

Tiles are computed and blended row by row into work files, from which the maps are made. Memory
holds one row of tiles, whatever the height of the scene.
"""

import dataclasses
import hashlib
import json
import pathlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal

import numpy as np
import tqdm.auto
from absl import logging

from rrsis_jax import constants
from rrsis_jax.geospatial import mask_rasters, polygons, resolution, scenes
from rrsis_jax.prediction import image_files, limits, tiling
from rrsis_jax.prediction.job_folder import JobFolder
from rrsis_jax.prediction.job_journal import DamagedError, Journal, Position
from rrsis_jax.prediction.predictor import EncodedPhrase, Predictor
from rrsis_jax.visualization import overlays

# The metres a pixel that the model was trained on, where they are known.
TRAINED_GSD: Final = "model"
_OVERLAY_SIDE = 2048  # pixels of the picture's longer side
_DISK_BYTES = 5  # a pixel and expression: work file, uncompressed maps, finished maps


class Interrupted(Exception):  # noqa: N818 - it is no error
    """The job stopped when asked to; it goes on where it stopped when it is called again."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a scene is read, blended and written.

    Attributes:
      bands: numbers from 1 of red, green and blue; None to choose, see `scenes.open_scene`.
      stretch: percentiles that become 0 and 255; None for 2 and 98 unless bands have 8 bits.
      nodata: value of pixels without data; None for what the file says.
      gsd: metres a pixel that the model works at; None for the scene's own pixels, `TRAINED_GSD`
        for those of the training, where they are known.
      overlap: least overlap of neighbouring tiles, as a fraction of a tile.
      threshold: probability above which a pixel is in the mask.
      vector: "gpkg" or "geojson".
      least_area: square metres (pixels without a georeference) below which a polygon is left
        out; masks keep everything.
      overwrite: whether earlier results in the folder are replaced.
      allow_unread: see `Predictor.encode`.

    Raises:
      ValueError: if one of them is none of that.
    """

    bands: tuple[int, ...] | None = None
    stretch: tuple[float, float] | None = None
    nodata: float | None = None
    gsd: float | Literal["model"] | None = TRAINED_GSD
    overlap: float = constants.DEFAULT_OVERLAP
    threshold: float = constants.DEFAULT_THRESHOLD
    vector: str = "gpkg"
    least_area: float = 1.0
    overwrite: bool = False
    allow_unread: bool = False

    def __post_init__(self):
        """Checks what was set."""
        for name in ("bands", "stretch", "nodata", "gsd", "overlap", "threshold", "least_area"):
            value = getattr(self, name)
            if value is not None and (name, value) != ("gsd", TRAINED_GSD):
                limits.check(name, value)
        if self.vector not in polygons.FORMATS:
            raise ValueError(
                f"{self.vector!r} is no vector format; choose one of {', '.join(polygons.FORMATS)}."
            )


def segment(
    predictor: Predictor,
    image: pathlib.Path | str,
    expressions: Iterable[str],
    output: pathlib.Path | str,
    settings: Settings | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> dict:
    """Segments a scene and writes maps, polygons, a picture and `summary.json`.

    If it is interrupted in any way, the same call goes on where it stopped.

    Args:
      predictor: the model at work.
      image: path of a GeoTIFF or another raster that GDAL reads; text for one in a virtual file
        system, see `georeference.open_raster`.
      expressions: what to segment.
      output: folder of the results, created if need be.
      settings: see `Settings`.
      stop: asked after every tile; when true, the position is saved and `Interrupted` raised.

    Returns:
      The content of `summary.json`.

    Raises:
      ValueError: if the image or an expression cannot be used, or the folder holds results or
        another unfinished job and `settings.overwrite` is false.
      OSError: if the disk is full or the folder cannot be written to.
      Interrupted: see `stop`.
    """
    settings = settings or Settings()
    phrases = predictor.encode(expressions, settings.allow_unread)
    files = _Files(pathlib.Path(output), [phrase.text for phrase in phrases], settings.vector)
    began = time.monotonic()
    gsd = predictor.model.gsd if settings.gsd == TRAINED_GSD else settings.gsd
    with scenes.open_scene(image, settings.bands, settings.stretch, gsd, settings.nodata) as scene:
        scenes.check_vector(settings.vector, scene.georeferenced, scene.name)
        own, read = (scene.metres_a_pixel(x) for x in (scene.own_grid, scene.model_grid))
        sides = resolution.compare(own, read, predictor.model.gsd)
        notes = [*scene.notes, *resolution.notes(sides, gsd)]
        for note in notes:
            logging.warning("%s", note)
        journal = Journal(files.work, _digest(predictor, image, scene, files, settings))
        _prepare(files, journal, settings.overwrite)
        _check_room(files, scene)
        blending = _Blending(predictor, scene, phrases, settings.overlap, files, journal)
        try:
            computed = blending.run(stop)
        except DamagedError:
            if not settings.overwrite:
                raise
            shutil.rmtree(files.work)
            files.begin_work()
            computed = blending.run(stop)
        seconds = time.monotonic() - began
        results = _write_results(scene, files, settings)
    facts = {
        "image": str(image),
        "weights_sha256": predictor.model.digest(),
        "weights_from": predictor.model.facts.get("sources", []),
        "settings": dataclasses.asdict(settings),
        "resolution": sides,
        "notes": notes,
        "tile": predictor.model.tile,
        "tiles": blending.num_tiles,
        "tiles_computed_in_last_call": computed,
        "seconds_of_tiles_in_last_call": round(seconds, 3),
        "seconds_of_last_call": round(time.monotonic() - began, 3),
        "polygons": files.polygons.name,
        "overlay": files.overlay.name,
        "expressions": results,
    }
    summary = files.write_summary(facts)
    shutil.rmtree(files.work)
    return summary


class _Files(JobFolder):
    """The names of everything that a scene's job writes.

    Attributes:
      polygons: all parts of all masks.
      rows: work files, one for each expression.
    """

    def __init__(self, output: pathlib.Path, expressions: list[str], vector: str):
        super().__init__(output, expressions, ".tif")
        self.polygons = output / f"polygons.{vector}"
        self.rows = [self.work / f"{k:02d}.img" for k in range(1, len(expressions) + 1)]

    def results(self) -> list[pathlib.Path]:
        """Returns all files that stay."""
        return [*super().results(), self.polygons]


class _Blending:
    """From the scene's tiles to rows of probabilities in the work files."""

    def __init__(
        self,
        predictor: Predictor,
        scene: scenes.Scene,
        phrases: list[EncodedPhrase],
        overlap: float,
        files: _Files,
        journal: Journal,
    ):
        grid, tile = scene.model_grid, predictor.model.tile
        self._predictor, self._scene, self._phrases = predictor, scene, phrases
        self._files, self._journal = files, journal
        self._rows = tiling.make_axis(grid.height, tile, overlap)
        self._columns = tiling.make_axis(grid.width, tile, overlap)
        self._valid: dict[int, np.ndarray] = {}  # of rows of tiles that were read, by number
        self.num_tiles = len(self._rows.starts) * len(self._columns.starts)

    def run(self, stop: Callable[[], bool]) -> int:
        """Does what is left to do; returns the number of tiles computed."""
        blender = tiling.Blender(self._rows, self._columns, len(self._phrases))
        position = self._journal.read() or Position(0, 0, blender.sums)
        if position.sums.shape != blender.sums.shape:
            raise self._journal.damaged(f"its sums have the shape {position.sums.shape}")
        blender.sums = position.sums
        self._cut_work_files(position.rows)
        row, computed = self._row_at(position.rows), 0
        description = f"{len(self._phrases)} expression(s)"
        with tqdm.auto.tqdm(
            total=self.num_tiles, initial=position.tiles, desc=description, unit="tile"
        ) as bar:
            squares = self._squares(row, position.tiles)
            for index, layers in self._predictor.probabilities(squares, self._phrases):
                tile_row, column = divmod(index, len(self._columns.starts))
                for finished in range(row, tile_row):
                    self._finish_row(blender, finished)
                row = tile_row
                for layer, values in enumerate(layers):
                    blender.add(layer, row, column, values)
                computed += 1
                bar.update(index + 1 - bar.n)
                if stop():
                    start, _ = self._rows.finished(row)
                    self._journal.save(Position(index + 1, start, blender.sums))
                    raise Interrupted(f"Stopped after {index + 1} of {self.num_tiles} tiles.")
            for finished in range(row, len(self._rows.starts)):
                self._finish_row(blender, finished)
            bar.update(self.num_tiles - bar.n)
        return computed

    def _squares(self, first_row: int, first: int) -> Iterator[tuple[int, np.ndarray]]:
        """Reads from an unfinished row of tiles on; yields tiles with data from number `first` on.

        Yields:
          The number of a tile and its uint8 (tile, tile, 3) pixels.
        """
        tile, columns = self._rows.tile, self._columns.starts
        for row in range(first_row, len(self._rows.starts)):
            start, stop = self._rows.finished(row)
            image, valid = self._scene.read_rows(start, min(start + tile, self._rows.size))
            self._valid[row] = valid[: stop - start].copy()
            image = np.where(valid[..., None], image, np.array(constants.VOID, np.uint8))
            for column, left in enumerate(columns):
                index = row * len(columns) + column
                if index >= first and valid[:, left : left + tile].any():
                    yield index, tiling.cut(image, 0, left, tile)

    def _finish_row(self, blender: tiling.Blender, row: int) -> None:
        """Appends the rows of pixels that are complete to the work files."""
        _, stop = self._rows.finished(row)
        valid = self._valid.pop(row)
        for path, layer in zip(self._files.rows, blender.finish_row(row), strict=True):
            with path.open("ab") as file:
                file.write(mask_rasters.encode_work(layer, valid).data)
        tiles = (row + 1) * len(self._columns.starts)
        self._journal.save(Position(tiles, stop, blender.sums))

    def _cut_work_files(self, rows: int) -> None:
        """Brings the work files to exactly the finished rows."""
        self._files.work.mkdir(parents=True, exist_ok=True)
        wanted = rows * self._columns.size * mask_rasters.WORK_BYTES
        for path in self._files.rows:
            size = path.stat().st_size if path.exists() else 0
            if size < wanted:
                raise self._journal.damaged(f"{path.name} has {size} bytes of {wanted}")
            with path.open("ab") as file:
                file.truncate(wanted)
            mask_rasters.write_work_header(path, self._rows.size, self._columns.size)

    def _row_at(self, pixel_row: int) -> int:
        """Returns the row of tiles whose finished pixels begin at `pixel_row`."""
        if pixel_row == self._rows.size:
            return len(self._rows.starts)
        return int(np.searchsorted(self._rows.starts, pixel_row))


def _digest(
    predictor: Predictor,
    image: pathlib.Path | str,
    scene: scenes.Scene,
    files: _Files,
    settings: Settings,
) -> str:
    """Returns a fingerprint of all that the probabilities depend on."""
    facts = {
        "image": _identity(image),
        "pixels": scene.fingerprint,
        "weights": predictor.model.digest(),
        "tile": predictor.model.tile,
        "expressions": files.expressions,
        "bands": scene.bands,
        "limits": None if scene.limits is None else scene.limits.tolist(),
        "size": [scene.model_grid.height, scene.model_grid.width],
        "overlap": settings.overlap,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _identity(image: pathlib.Path | str) -> list:
    """Returns what tells a file from others; of a virtual one no size or time is to be had."""
    if str(image).startswith(constants.VIRTUAL_ROOT):
        return [str(image)]
    stat = pathlib.Path(image).stat()
    return [str(pathlib.Path(image).resolve()), stat.st_size, stat.st_mtime_ns]


def _prepare(files: _Files, journal: Journal, overwrite: bool) -> None:
    """Makes the folder ready for a new job, or for going on with this one.

    Raises:
      ValueError: if that would replace something and `overwrite` is false.
    """
    try:
        begun = files.work.is_dir() and journal.read() is not None
    except ValueError:
        if not overwrite:
            raise
        begun = False
    if not begun:
        files.check_free(overwrite)
        files.clear()
    files.begin_work()


def _check_room(files: _Files, scene: scenes.Scene) -> None:
    """Refuses a job that would fill the disk.

    Raises:
      OSError: naming what is needed and what is free.
    """
    files.output.mkdir(parents=True, exist_ok=True)
    pixels = max(grid.height * grid.width for grid in (scene.own_grid, scene.model_grid))
    begun = sum(path.stat().st_size for path in files.rows if path.exists())
    needed = pixels * len(files.expressions) * _DISK_BYTES - begun
    free = shutil.disk_usage(files.output).free
    if needed > free:
        raise OSError(
            f"{files.output} needs up to {needed / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB "
            "left. Free some, or choose an --output on another disk."
        )


def _write_results(scene: scenes.Scene, files: _Files, settings: Settings) -> list[dict]:
    """Makes maps, polygons and the picture; returns the facts about each expression."""
    shares = [
        mask_rasters.write_maps(
            scene,
            files.rows[number],
            expression,
            settings.threshold,
            files.masks[number],
            files.probabilities[number],
        )
        for number, expression in enumerate(files.expressions)
    ]
    crs = scene.own_grid.crs if scene.georeferenced else None
    counts = polygons.write(
        files.polygons,
        files.expressions,
        files.masks,
        files.probabilities,
        crs,
        settings.least_area,
    )
    _draw_overlay(scene, files, settings.threshold, shares)
    return [
        {
            "expression": expression,
            "mask": files.masks[number].name,
            "probability": files.probabilities[number].name,
            "share_of_area": float(f"{shares[number]:.6g}"),
            "polygons": counts[number],
        }
        for number, expression in enumerate(files.expressions)
    ]


def _draw_overlay(
    scene: scenes.Scene, files: _Files, threshold: float, shares: list[float]
) -> None:
    """Writes the picture; its masks are those of reduced maps, its shares of the whole ones."""
    image, valid = scene.read_reduced(_OVERLAY_SIDE)
    image = np.where(valid[..., None], image, np.uint8(255))
    masks = [
        mask_rasters.read_reduced_probability(path, valid.shape) > threshold
        for path in files.probabilities
    ]
    image_files.write(
        overlays.draw_map(image, masks, overlays.captions(files.expressions, shares)),
        files.overlay,
    )
