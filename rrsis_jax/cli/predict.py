"""Segments an image or a georeferenced scene by expressions: the command `rrsis-predict`."""

import argparse
import json
import pathlib
import sys
from collections.abc import Sequence

from absl import logging

from rrsis_jax import constants
from rrsis_jax.cli import command
from rrsis_jax.cli.parser import Parser
from rrsis_jax.configuration import files
from rrsis_jax.prediction import image_files


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; `arguments` default to those of the process."""
    options = make_parser().parse_args(arguments)
    image = pathlib.Path(options.image)
    if not image.is_file():
        raise ValueError(f"There is no image {image}.")
    if image.suffix.lower() in image_files.SUFFIXES:
        _predict_image(options, image)
    else:
        _predict_scene(options, image)
    print(f"Wrote {options.output}.")


def _predict_image(options: argparse.Namespace, image: pathlib.Path) -> None:
    """Segments a plain image and writes PNG masks, probabilities and the overlay."""
    from rrsis_jax.prediction import image_job  # slow: a mistake is answered before

    image_job.predict_image(
        lambda: _load(options),
        image,
        options.expression,
        options.output,
        tiled=options.tiled,
        overlap=options.overlap,
        threshold=options.threshold,
        overwrite=options.overwrite,
    )


def _predict_scene(options: argparse.Namespace, image: pathlib.Path) -> None:
    """Segments a scene and writes maps, polygons, the overlay and a summary."""
    from rrsis_jax.distributed import preemption
    from rrsis_jax.prediction import scene_job  # needs the geo extra, which plain images do without

    model = _load(options)
    settings = scene_job.Settings(
        bands=options.bands,
        stretch=options.stretch,
        gsd=model.model.gsd if options.gsd == "model" else options.gsd,
        overlap=options.overlap,
        threshold=options.threshold,
        vector=options.vector,
        least_area=options.min_area,
        overwrite=options.overwrite,
    )
    with preemption.StopRequest() as stop:
        try:
            summary = scene_job.segment(
                model, image, options.expression, options.output, settings, stop.requested
            )
        except scene_job.Interrupted as stopped:
            print(f"{stopped} Give the same command again to go on.", file=sys.stderr)
            sys.exit(130)
    print(json.dumps(summary["expressions"], indent=2, ensure_ascii=False))


def _load(options: argparse.Namespace):
    """Returns the `Predictor` that the options name."""
    from rrsis_jax.prediction.predictor import Predictor  # slow: a mistake is answered before

    if options.workdir:
        return Predictor.from_workdir(options.workdir, options.batch_size)
    if options.bundle:
        return Predictor.from_bundle(options.bundle, options.batch_size)
    if not options.config:
        raise ValueError("--imported needs --config, the file the weights were imported with.")
    config = files.load(options.config)
    return Predictor.from_import(options.imported, config, options.batch_size)


def run() -> None:
    """Entry point of the process."""
    logging.set_verbosity(logging.WARNING)  # orbax tells every step it takes
    command.run(main, "Finished tiles are kept; the same command goes on with the others.")


def make_parser() -> Parser:
    """Returns the parser of `rrsis-predict`."""
    parser = Parser(
        "rrsis-predict",
        """Segments an image or a georeferenced scene by expressions.

A PNG or JPEG is resized to the model's square and comes back as PNG masks. Anything else is read
as a scene of any size (this needs `pip install "rrsis-jax[geo]"`), cut into overlapping tiles, and
comes back as GeoTIFFs and polygons. `--tiled` cuts a PNG or JPEG into tiles as well. After an
interruption the same command goes on where it stopped.""",
        """rrsis-predict --workdir runs/quickstart --image scene.tif \\
      --expression "building along the road" --expression "tree" --output out/""",
    )
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--workdir", help="folder of a trained run")
    model.add_argument("--bundle", help="folder written by `rrsis-export`")
    model.add_argument("--imported", help="folder written by `rrsis-weights import`")
    parser.add_argument("--config", help="of the import: a name or a .py file; --imported only")
    parser.add_argument("--image", required=True, help="GeoTIFF, PNG, JPEG, …")
    parser.add_argument(
        "--expression", required=True, action="append", help="what to segment; may be repeated"
    )
    parser.add_argument("--output", required=True, help="folder of the results")
    parser.add_argument("--overwrite", action="store_true", help="replace earlier results")
    parser.add_argument(
        "--threshold",
        type=float,
        default=constants.DEFAULT_THRESHOLD,
        help="probability above which a pixel is in the mask (default %(default)s)",
    )
    parser.add_argument("--tiled", action="store_true", help="cut a plain image into tiles too")
    parser.add_argument(
        "--overlap",
        type=float,
        default=constants.DEFAULT_OVERLAP,
        help="least overlap of tiles, as a fraction of a tile (default %(default)s)",
    )
    parser.add_argument(
        "--batch-size", type=int, help="tiles computed at once on all devices (default 4 a device)"
    )
    scenes = parser.add_argument_group("scenes")
    scenes.add_argument(
        "--gsd",
        type=_gsd,
        default="model",
        help="metres a pixel that the scene is resampled to for the model; 'none' keeps the "
        "scene's pixels; 'model', the default, takes what it was trained on, where that is known",
    )
    scenes.add_argument(
        "--bands", type=_bands, help="bands taken as red, green and blue, like 4,3,2"
    )
    scenes.add_argument(
        "--stretch",
        type=_stretch,
        help="percentiles that become black and white (default 2,98 unless bands have 8 bits)",
    )
    scenes.add_argument(
        "--vector", choices=("gpkg", "geojson"), default="gpkg", help="format of the polygons"
    )
    scenes.add_argument(
        "--min-area",
        type=float,
        default=1.0,
        help="square metres, or pixels without georeference, below which a polygon is left out "
        "(default %(default)s)",
    )
    return parser


def _gsd(text: str) -> float | str | None:
    if text in ("model", "none"):
        return None if text == "none" else text
    value = float(text)
    if not value > 0:
        raise ValueError(text)
    return value


def _bands(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _stretch(text: str) -> tuple[float, float]:
    low, high = (float(part) for part in text.split(","))
    if not 0 <= low < high <= 100:
        raise ValueError(text)
    return low, high


if __name__ == "__main__":
    run()
