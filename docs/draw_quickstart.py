"""Draws the README's picture from a finished quickstart run.

python docs/draw_quickstart.py --workdir runs/quickstart --output docs/images/quickstart.png
"""

import argparse
import pathlib

import matplotlib.figure
import numpy as np
from PIL import Image

from rrsis_jax import results, run_config, visualize
from rrsis_jax.data import descriptions, input_pipeline

SCENES, PHRASES = 2, 4
COLOUR = (0.0, 0.9, 1.0)


def main() -> None:
    """Draws the first scenes of the test split, each with predictions for several phrases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    options = parser.parse_args()
    config = run_config.load(options.workdir)
    data = config.data
    builder = input_pipeline.prepare(data.dataset, data.data_dir, data.folder)
    source = input_pipeline.open_split(builder, "test")
    samples = descriptions.describe(builder, "test")
    masks = results.masks_folder(options.workdir, "test")

    by_tile: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        by_tile.setdefault(sample.tile, []).append(index)
    figure = matplotlib.figure.Figure(figsize=(10, 4.4), layout="constrained")
    axes = figure.subplots(SCENES, PHRASES + 1)
    for row, indices in zip(axes, list(by_tile.values())[:SCENES], strict=True):
        image = source[indices[0]]["image"]
        row[0].imshow(image)
        row[0].set_title("image", fontsize=9)
        for axis, index in zip(row[1:], indices[:PHRASES], strict=True):
            mask = np.asarray(Image.open(masks / f"{index:05d}.png"))
            axis.imshow(visualize.overlay(image, mask, COLOUR))
            axis.set_title(samples[index].phrase, fontsize=9)
    for axis in axes.ravel():
        axis.set_axis_off()
    figure.savefig(options.output, dpi=100)


if __name__ == "__main__":
    main()
