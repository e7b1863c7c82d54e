"""Draws the README's picture from a finished quickstart run.

python docs/draw_quickstart.py --workdir runs/quickstart --output docs/images/quickstart.png
"""

import argparse
import pathlib

import matplotlib.axes
import matplotlib.figure
import numpy as np
from PIL import Image

from rrsis_jax.configuration import run_folder
from rrsis_jax.data import annotations, datasets
from rrsis_jax.evaluation import mask_files, sample_table
from rrsis_jax.visualization import overlays

SCENES, PHRASES = 2, 4
SCALE = 3  # screen pixels of an image's pixel, so that outlines are thin


def main() -> None:
    """Draws the first scenes of the test split, each with predictions for its first phrases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    options = parser.parse_args()
    data = run_folder.load(options.workdir).data
    builder = datasets.prepare(data.dataset, data.data_dir, data.folder, data.foreground)
    source = datasets.open_split(builder, "test")
    samples = annotations.describe(builder, "test")
    masks = mask_files.masks_folder(options.workdir, "test")
    scores = sample_table.load(options.workdir, "test").iou("paper")

    by_tile: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        by_tile.setdefault(sample.tile, []).append(index)
    figure = matplotlib.figure.Figure(figsize=(12, 5.8), layout="constrained")
    axes = figure.subplots(SCENES, PHRASES + 1)
    for row, indices in zip(axes, list(by_tile.values())[:SCENES], strict=True):
        image = source[indices[0]]["image"]
        show(row[0], image, "image")
        for axis, index in zip(row[1:], indices[:PHRASES], strict=True):
            predicted = np.asarray(Image.open(masks / f"{index:05d}.png"))
            target = annotations.decode_mask(samples[index].encoded_mask)
            show(axis, explain(image, predicted, target), f"“{samples[index].phrase}”")
            axis.set_xlabel(f"IoU {scores[index]:.2f}", fontsize=10)
    figure.savefig(options.output, dpi=100)


def explain(image: np.ndarray, predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Returns the image, enlarged, with the prediction tinted and the target outlined.

    Args:
      image: uint8 (H, W, 3).
      predicted: (H, W), nonzero where predicted.
      target: (H, W), nonzero where meant.

    Returns:
      uint8 (SCALE × H, SCALE × W, 3).
    """
    large = [np.kron(mask != 0, np.ones((SCALE, SCALE), bool)) for mask in (predicted, target)]
    tinted = overlays.overlay(
        image.repeat(SCALE, axis=0).repeat(SCALE, axis=1), large[0], overlays.PREDICTION_COLOUR
    )
    return overlays.paint(tinted, overlays.outline(large[1]), overlays.OUTLINE_COLOUR)


def show(axis: matplotlib.axes.Axes, picture: np.ndarray, title: str) -> None:
    """Shows a picture below its title, without a frame."""
    axis.imshow(picture)
    axis.set_title(title, fontsize=10)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


if __name__ == "__main__":
    main()
