"""Segments an image or a georeferenced scene by expressions: the command `rrsis-predict`.

What can be told without a model is told first: the imports that a model needs take seconds.
"""

import argparse
import contextlib
import json
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rrsis_jax import constants, hub_address
from rrsis_jax.cli import command
from rrsis_jax.cli.parser import Parser
from rrsis_jax.configuration import files
from rrsis_jax.geospatial import resolution
from rrsis_jax.prediction import limits
from rrsis_jax.prediction.job_folder import JobFolder
from rrsis_jax.terminal import screen


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; `arguments` default to those of the process."""
    options = make_parser().parse_args(arguments)
    if not _is_virtual(options.image) and not pathlib.Path(options.image).is_file():
        raise ValueError(f"There is no image {options.image}.")
    if _is_picture(options.image):
        _predict_image(options)
    else:
        _predict_scene(options)
    print(f"Wrote {options.output}.")


def _is_virtual(image: str) -> bool:
    return image.startswith(constants.VIRTUAL_ROOT)


def _is_picture(image: str) -> bool:
    """Whether an image is plain; whatever lies in a virtual file system is read as a scene."""
    from rrsis_jax.prediction import image_files  # the help does without it

    return not _is_virtual(image) and pathlib.Path(image).suffix.lower() in image_files.SUFFIXES


def _predict_image(options: argparse.Namespace) -> None:
    """Segments a plain image and writes PNG masks, probabilities, the overlay and a summary."""
    useless = scene_settings(options)
    if useless:
        raise ValueError(
            f"{options.image} is a plain image, to which {', '.join(useless)} cannot be applied: "
            "only scenes have that. Leave it out, or convert the image to GeoTIFF."
        )
    from rrsis_jax.prediction import image_job  # slow: a mistake is answered before

    with _begun(options):
        image_job.predict_image(
            lambda: _load(options),
            options.image,
            options.expression,
            options.output,
            tiled=options.tiled,
            overlap=options.overlap,
            threshold=options.threshold,
            allow_unread=options.allow_unread,
            overwrite=options.overwrite,
        )


def _predict_scene(options: argparse.Namespace) -> None:
    """Segments a scene and writes maps, polygons, the overlay and a summary."""
    from rrsis_jax.geospatial import scenes  # needs the geo extra, which plain images do without

    chosen = scene_settings(options)
    files = JobFolder(pathlib.Path(options.output), options.expression, ".tif")
    files.check_free(options.overwrite or files.work.is_dir())
    _check_model(options)
    scenes.check_choice(
        options.image,
        chosen.get("--bands"),
        chosen.get("--nodata"),
        chosen.get("--vector"),
    )
    from rrsis_jax.distributed import preemption
    from rrsis_jax.prediction import scene_job  # slow: a mistake is answered before

    settings = scene_job.Settings(
        overlap=options.overlap,
        threshold=options.threshold,
        overwrite=options.overwrite,
        allow_unread=options.allow_unread,
        **{SCENE_SETTINGS[flag]: value for flag, value in chosen.items()},
    )
    with _begun(options):
        predictor = _load(options)
        with preemption.StopRequest() as stop:
            try:
                summary = scene_job.segment(
                    predictor,
                    options.image,
                    options.expression,
                    options.output,
                    settings,
                    stop.requested,
                )
            except scene_job.Interrupted as stopped:
                print(f"{stopped} Give the same command again to go on.", file=sys.stderr)
                sys.exit(130)
    print(resolution.describe(summary["resolution"]))
    print(json.dumps(summary["expressions"], indent=2, ensure_ascii=False))


@contextlib.contextmanager
def _begun(options: argparse.Namespace) -> Iterator[None]:
    """Shows what is done during the body, beginning with what was asked for."""
    with screen.opened() as shown:
        shown.fact("image", options.image)
        shown.fact("model", options.workdir or options.bundle or options.weights)
        shown.fact("segments", ", ".join(map(repr, options.expression)))
        yield


def _check_model(options: argparse.Namespace) -> None:
    """Refuses a folder that holds no model."""
    from rrsis_jax.prediction import model_checks  # the help does without it

    if options.workdir:
        model_checks.check_run(options.workdir)
    elif options.bundle:
        model_checks.check_bundle(options.bundle)
    else:
        model_checks.check_weights(options.weights, options.config)


def _load(options: argparse.Namespace):
    """Returns the `Predictor` that the options name."""
    _check_model(options)
    from rrsis_jax.prediction.predictor import Predictor  # slow: a mistake is answered before

    if options.workdir:
        return Predictor.from_workdir(options.workdir, options.batch_size)
    if options.bundle:
        return Predictor.from_bundle(options.bundle, options.batch_size)
    config = files.load(options.config)
    return Predictor.from_weights(options.weights, config, options.batch_size)


def run() -> None:
    """Entry point of the process."""
    command.run(main, "Finished tiles are kept; the same command goes on with the others.")


# Flags of `rrsis-predict` that only scenes have: the attributes of `scene_job.Settings` they set.
SCENE_SETTINGS = {
    "--gsd": "gsd",
    "--bands": "bands",
    "--stretch": "stretch",
    "--nodata": "nodata",
    "--vector": "vector",
    "--min-area": "least_area",
}


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
    model.add_argument("--bundle", help=f"folder written by `rrsis-export`, or {hub_address.FORM}")
    model.add_argument(
        "--weights",
        "--imported",  # what it was called when it took nothing but a folder of an import
        metavar="SOURCE",
        help="file in its authors' layout, folder (as of `rrsis-weights import`), or "
        f"{hub_address.FORM}; needs --config",
    )
    parser.add_argument("--config", help="of --weights: a name or a .py file")
    parser.add_argument("--image", required=True, help="GeoTIFF, PNG, JPEG, …")
    parser.add_argument(
        "--expression",
        required=True,
        action="append",
        type=_expression,
        help="what to segment; may be repeated",
    )
    parser.add_argument(
        "--allow-unread",
        action="store_true",
        help="segment an expression even if the model's vocabulary has none of its words",
    )
    parser.add_argument("--output", required=True, help="folder of the results")
    parser.add_argument("--overwrite", action="store_true", help="replace earlier results")
    parser.add_argument(
        "--threshold",
        type=_checked("threshold", float),
        default=constants.DEFAULT_THRESHOLD,
        help="probability above which a pixel is in the mask (default %(default)s)",
    )
    parser.add_argument("--tiled", action="store_true", help="cut a plain image into tiles too")
    parser.add_argument(
        "--overlap",
        type=_checked("overlap", float),
        default=constants.DEFAULT_OVERLAP,
        help="least overlap of tiles, as a fraction of a tile (default %(default)s)",
    )
    parser.add_argument(
        "--batch-size",
        type=_checked("batch_size", int),
        help="tiles computed at once on all devices (default 4 a device)",
    )
    _add_scene_settings(parser.add_argument_group("scenes"))
    return parser


def _add_scene_settings(group) -> None:
    """Adds the flags of `SCENE_SETTINGS`; their defaults are those of `scene_job.Settings`."""

    def add(flag: str, **how) -> None:
        group.add_argument(flag, dest=SCENE_SETTINGS[flag], default=argparse.SUPPRESS, **how)

    add(
        "--gsd",
        type=_gsd,
        help="metres a pixel that the scene is resampled to for the model; 'none' keeps the "
        "scene's pixels; 'model', the default, takes what it was trained on, where that is known",
    )
    add(
        "--bands",
        type=_checked("bands", lambda text: tuple(int(part) for part in text.split(","))),
        help="bands taken as red, green and blue, like 4,3,2",
    )
    add(
        "--stretch",
        type=_checked("stretch", lambda text: tuple(float(part) for part in text.split(","))),
        help="percentiles that become black and white (default 2,98 unless bands have 8 bits)",
    )
    add(
        "--nodata",
        type=_checked("nodata", float),
        help="value of pixels without data, where the file does not tell it",
    )
    add("--vector", choices=("gpkg", "geojson"), help="format of the polygons (default gpkg)")
    add(
        "--min-area",
        type=_checked("least_area", float),
        help="square metres, or pixels without georeference, below which a polygon is left out "
        "(default 1)",
    )


def scene_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the flags of `SCENE_SETTINGS` on the command line, with their values."""
    values = vars(options)
    return {flag: values[name] for flag, name in SCENE_SETTINGS.items() if name in values}


def _checked(name: str, convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """Returns what reads a setting of a prediction; a fault is told in the words of its rule."""

    def read(text: str) -> Any:
        rule = limits.RULES[name]
        try:
            value = convert(text)
        except ValueError:
            value = None
        if value is None or not rule.fits(value):
            raise argparse.ArgumentTypeError(f"it is {text!r:.60}; it must be {rule.words}")
        return value

    return read


def _gsd(text: str) -> float | str | None:
    if text in ("model", "none"):
        return None if text == "none" else text
    try:
        return _checked("gsd", float)(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or 'model', or 'none'") from error


def _expression(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is empty; say what to segment, like 'tree'")
    return text


if __name__ == "__main__":
    run()
