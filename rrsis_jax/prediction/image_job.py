"""A plain image and expressions → masks, probabilities and a picture."""

import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from absl import logging

from rrsis_jax import constants
from rrsis_jax.prediction import image_files
from rrsis_jax.prediction.job_folder import JobFolder
from rrsis_jax.visualization import overlays

if TYPE_CHECKING:  # importing it takes seconds, which a mistake need not wait for
    from rrsis_jax.prediction.predictor import Predictor


def predict_image(
    load: Callable[[], "Predictor"],
    image: pathlib.Path | str,
    expressions: Sequence[str],
    output: pathlib.Path | str,
    *,
    tiled: bool = False,
    overlap: float = constants.DEFAULT_OVERLAP,
    threshold: float = constants.DEFAULT_THRESHOLD,
    allow_unread: bool = False,
    overwrite: bool = False,
) -> None:
    """Segments a plain image and writes PNG masks, probabilities, the overlay and a summary.

    Args:
      load: returns the predictor; called when all else is known to be right, as it takes seconds.
      image: the file.
      expressions: what to segment.
      output: folder of the results.
      tiled: cuts the image into tiles instead of shrinking it to the model's square.
      overlap: least overlap of tiles, as a fraction of a tile.
      threshold: probability above which a pixel is in the mask.
      allow_unread: segments expressions of which the vocabulary has no word.
      overwrite: whether earlier results may be replaced.

    Raises:
      ValueError: if the image cannot be read, or results exist already.
    """
    pixels, visible = image_files.read(pathlib.Path(image))
    files = JobFolder(pathlib.Path(output), expressions, ".png")
    files.check_free(overwrite)
    if not visible.all():
        logging.warning(
            "%.1f %% of the pixels of %s are transparent; nothing is segmented there.",
            100 * (1 - visible.mean()),
            image,
        )
    predictor = load()
    shrinkage = max(pixels.shape[:2]) / predictor.model.tile
    if shrinkage > 2 and not tiled:
        logging.warning(
            "%s is shrunk %.1f times to the model's square of %d pixels; --tiled keeps its detail.",
            image,
            shrinkage,
            predictor.model.tile,
        )
    settings = {
        "tiled": tiled,
        "overlap": overlap,
        "threshold": threshold,
        "allow_unread": allow_unread,
    }
    prediction = predictor.predict(
        np.dstack([pixels, np.uint8(255) * visible]), expressions, **settings
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
            "image": str(image),
            "weights_sha256": predictor.model.digest(),
            "weights_from": predictor.model.facts.get("sources", []),
            "settings": settings,
            "tile": predictor.model.tile,
            "overlay": files.overlay.name,
            "expressions": facts,
        }
    )
