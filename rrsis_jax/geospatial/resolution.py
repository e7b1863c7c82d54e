"""The sizes of pixels on the ground: of a scene, as the model reads it, and of its training."""

_SAME_SCALE = 0.1  # relative difference of two sizes that is not worth a warning

Sides = dict[str, float | None]  # metres a pixel by `scene`, `read` and `training`; their `ratio`


def compare(scene: float | None, read: float | None, training: float | None) -> Sides:
    """Returns metres a pixel, to six digits, and the ratio of what is read to the training's.

    Args:
      scene: of the scene's own pixels; None if not known, like the others.
      read: of the pixels that the model is shown.
      training: of the pixels that it was trained on.
    """
    ratio = read / training if read and training else None
    sides = {"scene": scene, "read": read, "training": training, "ratio": ratio}
    return {name: value and float(f"{value:.6g}") for name, value in sides.items()}


def describe(sides: Sides) -> str:
    """Returns the sizes and their ratio in a line."""
    told = {name: "unknown" if side is None else f"{side:.3g}" for name, side in sides.items()}
    return (
        f"Metres a pixel: {told['scene']} in the scene, {told['read']} as the model reads it, "
        f"{told['training']} in its training; ratio of the latter two {told['ratio']}."
    )


def training_note(dataset: str, gsd: float, image_size: int) -> str:
    """Returns what a training without a known resolution will miss; "" where nothing.

    Args:
      dataset: its TFDS name; rendered scenes have no resolution.
      gsd: metres a resized pixel, 0 if unknown.
      image_size: side of the resized images in pixels.
    """
    if gsd or dataset.endswith("/synthetic"):
        return ""
    return (
        "data.ground_sampling_distance is 0: how many metres of ground a pixel shows is not known, "
        "so `rrsis-predict` will not be able to bring scenes to the resolution of this training, "
        "and at another one a model finds much less. Set it before the run begins: the metres that "
        f"one side of an image shows, divided by {image_size}, like "
        f"--config.data.ground_sampling_distance={round(64 / image_size, 3):g} where a side shows "
        "64 m."
    )


def notes(sides: Sides, gsd: float | None) -> list[str]:
    """Tells where the model may see objects of another size than it was trained on.

    Args:
      sides: see `compare`.
      gsd: metres a pixel that were asked for, None for the scene's own pixels.
    """
    training, ratio = sides["training"], sides["ratio"]
    if training is None and gsd is None:
        return [
            "How large the pixels were that the model was trained on is not known "
            "(data.ground_sampling_distance of its configuration is 0), so the scene's pixels are "
            "taken as they are. On pixels of another size it finds much less; give the side of the "
            "training's pixels in metres with --gsd."
        ]
    if training is not None and ratio is None:
        return [
            f"The model was trained on pixels of {training:.3g} m; whether those of the scene are "
            "as large cannot be told."
        ]
    if ratio is not None and abs(ratio - 1) > _SAME_SCALE:
        return [
            f"The model reads pixels of {sides['read']:.3g} m and was trained on pixels of "
            f"{training:.3g} m, a ratio of {ratio:.2f}. On pixels of another size it finds much "
            "less; `--gsd model`, the default, resamples the scene."
        ]
    return []
