"""Segments an image or a georeferenced scene by expressions: the command `rrsis-predict`."""

import argparse
import json
import pathlib
import sys
from collections.abc import Sequence

import numpy as np
from absl import logging

from rrsis_jax import command, config_files, parsers, pictures, predictor, preemption
from rrsis_jax.predictor import Predictor

_RESULTS = ("mask", "probability")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; `arguments` default to those of the process."""
    options = parsers.predict().parse_args(arguments)
    image = pathlib.Path(options.image)
    if not image.is_file():
        raise ValueError(f"There is no image {image}.")
    if image.suffix.lower() in pictures.SUFFIXES:
        _predict_picture(options, image)
    else:
        _predict_scene(options, image)
    print(f"Wrote {options.output}.")


def _predict_picture(options: argparse.Namespace, image: pathlib.Path) -> None:
    """Segments a plain image and writes PNG masks, probabilities and the overlay."""
    pixels = pictures.read(image)
    output = pathlib.Path(options.output)
    stems = [predictor.file_stem(k, text) for k, text in enumerate(options.expression, start=1)]
    paths = {kind: [output / f"{stem}_{kind}.png" for stem in stems] for kind in _RESULTS}
    overlay = output / "overlay.png"
    existing = [path for path in (*paths["mask"], *paths["probability"], overlay) if path.exists()]
    if existing and not options.overwrite:
        raise ValueError(
            f"{existing[0]} exists already. Choose another --output, or add --overwrite."
        )
    output.mkdir(parents=True, exist_ok=True)
    model = _load(options)
    shrinkage = max(pixels.shape[:2]) / model.model.tile
    if shrinkage > 2 and not options.tiled:
        logging.warning(
            "%s is shrunk %.1f times to the model's square of %d pixels; --tiled keeps its detail.",
            image,
            shrinkage,
            model.model.tile,
        )
    found = model.predict(
        pixels,
        options.expression,
        tiled=options.tiled,
        overlap=options.overlap,
        threshold=options.threshold,
    )
    for number in range(len(stems)):
        scaled = np.rint(255 * found.probabilities[number]).astype(np.uint8)
        pictures.write(scaled, paths["probability"][number])
        pictures.write(np.uint8(255) * found.masks[number], paths["mask"][number])
    captions = pictures.captions(found.expressions, [float(m.mean()) for m in found.masks])
    pictures.write(pictures.draw_map(pixels, list(found.masks), captions), overlay)


def _predict_scene(options: argparse.Namespace, image: pathlib.Path) -> None:
    """Segments a scene and writes maps, polygons, the overlay and a summary."""
    from rrsis_jax import scene  # needs the geo extra, which plain images do without

    model = _load(options)
    settings = scene.Settings(
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
            summary = scene.segment(
                model, image, options.expression, options.output, settings, stop.requested
            )
        except scene.Interrupted as stopped:
            print(f"{stopped} Give the same command again to go on.", file=sys.stderr)
            sys.exit(130)
    print(json.dumps(summary["expressions"], indent=2, ensure_ascii=False))


def _load(options: argparse.Namespace) -> Predictor:
    if options.workdir:
        return Predictor.from_workdir(options.workdir, options.batch_size)
    if options.bundle:
        return Predictor.from_bundle(options.bundle, options.batch_size)
    if not options.config:
        raise ValueError("--imported needs --config, the file the weights were imported with.")
    config = config_files.load(options.config)
    return Predictor.from_import(options.imported, config, options.batch_size)


def run() -> None:
    """Entry point of the process."""
    logging.set_verbosity(logging.WARNING)  # orbax tells every step it takes
    command.run(main, "Finished tiles are kept; the same command goes on with the others.")


if __name__ == "__main__":
    run()
