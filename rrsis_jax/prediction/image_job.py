"""A plain image and expressions → masks, probabilities and a picture."""

import argparse
import pathlib

import numpy as np
from absl import logging

from rrsis_jax.cli import predict
from rrsis_jax.prediction import image_files, predictor
from rrsis_jax.visualization import overlays

_RESULTS = ("mask", "probability")


def predict_image(options: argparse.Namespace, image: pathlib.Path) -> None:
    """Segments a plain image and writes PNG masks, probabilities and the overlay."""
    pixels = image_files.read(image)
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
    model = predict.load(options)
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
        image_files.write(scaled, paths["probability"][number])
        image_files.write(np.uint8(255) * found.masks[number], paths["mask"][number])
    captions = overlays.captions(found.expressions, [float(m.mean()) for m in found.masks])
    image_files.write(overlays.draw_map(pixels, list(found.masks), captions), overlay)
