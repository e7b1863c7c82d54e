"""A plain image and expressions → masks, probabilities and a picture."""

import argparse
import pathlib

import numpy as np
from absl import logging

from rrsis_jax.cli import predict
from rrsis_jax.prediction import image_files
from rrsis_jax.prediction.job_folder import JobFolder
from rrsis_jax.visualization import overlays


def predict_image(options: argparse.Namespace) -> None:
    """Segments a plain image and writes PNG masks, probabilities, the overlay and a summary."""
    useless = predict.scene_settings(options)
    if useless:
        raise ValueError(
            f"{options.image} is a plain image, to which {', '.join(useless)} cannot be applied: "
            "only scenes have that. Leave it out, or convert the image to GeoTIFF."
        )
    pixels, visible = image_files.read(pathlib.Path(options.image))
    files = JobFolder(pathlib.Path(options.output), options.expression, ".png")
    files.check_free(options.overwrite)
    predict._check_model(options)
    if not visible.all():
        logging.warning(
            "%.1f %% of the pixels of %s are transparent; nothing is segmented there.",
            100 * (1 - visible.mean()),
            options.image,
        )
    predictor = predict.load(options)
    shrinkage = max(pixels.shape[:2]) / predictor.model.tile
    if shrinkage > 2 and not options.tiled:
        logging.warning(
            "%s is shrunk %.1f times to the model's square of %d pixels; --tiled keeps its detail.",
            options.image,
            shrinkage,
            predictor.model.tile,
        )
    settings = {
        name: getattr(options, name) for name in ("tiled", "overlap", "threshold", "allow_unread")
    }
    prediction = predictor.predict(
        np.dstack([pixels, np.uint8(255) * visible]), options.expression, **settings
    )
    files.clear()
    files.output.mkdir(parents=True, exist_ok=True)
    shares = [float(mask.sum() / visible.sum()) for mask in prediction.masks]
    facts = []
    for number, expression in enumerate(prediction.expressions):
        mask, probability = files.masks[number], files.probabilities[number]
        scaled = np.rint(255 * prediction.probabilities[number]).astype(np.uint8)
        image_files.write(scaled, probability)
        image_files.write(np.uint8(255) * prediction.masks[number], mask)
        facts.append(
            {
                "expression": expression,
                "mask": mask.name,
                "probability": probability.name,
                "share_of_area": float(f"{shares[number]:.6g}"),
            }
        )
    captions = overlays.captions(prediction.expressions, shares)
    image_files.write(overlays.draw_map(pixels, list(prediction.masks), captions), files.overlay)
    files.write_summary(
        {
            "image": options.image,
            "weights_sha256": predictor.model.digest(),
            "settings": settings,
            "tile": predictor.model.tile,
            "overlay": files.overlay.name,
            "expressions": facts,
        }
    )
