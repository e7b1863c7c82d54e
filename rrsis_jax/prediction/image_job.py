"""A plain image and expressions → masks, probabilities and a picture."""

import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from absl import logging

from rrsis_jax import constants
from rrsis_jax.prediction import image_files
from rrsis_jax.prediction.predictor import Predictor, file_stem
from rrsis_jax.visualization import overlays

_RESULTS = ("mask", "probability")


def predict_image(
    load: Callable[[], Predictor],
    image: pathlib.Path,
    expressions: Sequence[str],
    output: pathlib.Path | str,
    *,
    tiled: bool = False,
    overlap: float = constants.DEFAULT_OVERLAP,
    threshold: float = constants.DEFAULT_THRESHOLD,
    overwrite: bool = False,
) -> None:
    """Segments a plain image and writes PNG masks, probabilities and the overlay.

    Args:
      load: returns the predictor; called when all else is known to be right, as it takes seconds.
      image: the file.
      expressions: what to segment.
      output: folder of the results.
      tiled: cuts the image into tiles instead of shrinking it to the model's square.
      overlap: least overlap of tiles, as a fraction of a tile.
      threshold: probability above which a pixel is in the mask.
      overwrite: whether earlier results may be replaced.

    Raises:
      ValueError: if the image cannot be read, or results exist already.
    """
    pixels = image_files.read(image)
    output = pathlib.Path(output)
    stems = [file_stem(number, text) for number, text in enumerate(expressions, start=1)]
    paths = {kind: [output / f"{stem}_{kind}.png" for stem in stems] for kind in _RESULTS}
    overlay = output / "overlay.png"
    existing = [path for path in (*paths["mask"], *paths["probability"], overlay) if path.exists()]
    if existing and not overwrite:
        raise ValueError(
            f"{existing[0]} exists already. Choose another --output, or add --overwrite."
        )
    output.mkdir(parents=True, exist_ok=True)
    predictor = load()
    shrinkage = max(pixels.shape[:2]) / predictor.model.tile
    if shrinkage > 2 and not tiled:
        logging.warning(
            "%s is shrunk %.1f times to the model's square of %d pixels; --tiled keeps its detail.",
            image,
            shrinkage,
            predictor.model.tile,
        )
    prediction = predictor.predict(
        pixels, expressions, tiled=tiled, overlap=overlap, threshold=threshold
    )
    for number in range(len(stems)):
        scaled = np.rint(255 * prediction.probabilities[number]).astype(np.uint8)
        image_files.write(scaled, paths["probability"][number])
        image_files.write(np.uint8(255) * prediction.masks[number], paths["mask"][number])
    shares = [float(mask.mean()) for mask in prediction.masks]
    captions = overlays.captions(prediction.expressions, shares)
    image_files.write(overlays.draw_map(pixels, list(prediction.masks), captions), overlay)
