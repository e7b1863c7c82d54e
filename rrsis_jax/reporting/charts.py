"""Charts of the report, as SVG that takes its text colour from the page around it."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import matplotlib.axes
import matplotlib.figure
import matplotlib.rcsetup
import numpy as np

_INK = "#010203"  # stands for the page's text colour, which is light or dark
_SERIES = ("#2a7de1", "#d9730d", "#1a9c6b", "#a14fd1")
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: searchable, in the page's font size
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": matplotlib.rcsetup.cycler(color=_SERIES),
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor"), _INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), _INK),
}


_SCORES = ("oIoU", "mIoU", "P@0.5")
CURVES = ("epoch", "train_loss", *_SCORES)
"""What `learning_curves` reads of each record."""


def learning_curves(history: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Draws the training loss and the validation metrics over the epochs.

    Args:
      history: one record per validation, as in `metrics.json`.

    Returns:
      SVG by title.
    """
    epochs = [record["epoch"] for record in history]

    def loss(axes: matplotlib.axes.Axes) -> None:
        axes.plot(epochs, [record["train_loss"] for record in history], marker=".")
        axes.set(xlabel="epoch", ylabel="training loss")

    def scores(axes: matplotlib.axes.Axes) -> None:
        for name in _SCORES:
            axes.plot(epochs, [100 * record[name] for record in history], marker=".", label=name)
        axes.set(xlabel="epoch", ylabel="validation, %", ylim=(0, None))
        axes.legend(frameon=False)

    return {"Training loss": _draw(loss), "Validation": _draw(scores)}


def iou_histogram(ious: Mapping[str, np.ndarray]) -> str:
    """Draws how many samples reach which IoU.

    Args:
      ious: (n,) scores in [0, 1] of one or more runs by name.
    """

    def draw(axes: matplotlib.axes.Axes) -> None:
        for name, values in ious.items():
            axes.hist(
                values,
                bins=np.linspace(0, 1, 21).tolist(),
                histtype="bar" if len(ious) == 1 else "step",
                linewidth=1.6 if len(ious) > 1 else 0.5,
                label=name,
            )
        axes.set(xlabel="IoU", ylabel="samples", xlim=(0, 1))
        if len(ious) > 1:
            axes.legend(frameon=False)

    return _draw(draw)


def breakdown_bars(parts: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Draws mIoU with its interval for every value of a column.

    Args:
      parts: made by `breakdowns.breakdown`, by the name of the run.
    """
    names = list(dict.fromkeys(name for scores in parts.values() for name in scores))
    thickness = 0.8 / len(parts)

    def draw(axes: matplotlib.axes.Axes) -> None:
        for k, (run, scores) in enumerate(parts.items()):
            middle = np.array([100 * scores[name]["mIoU"] for name in names])
            ends = np.array([100 * np.array(scores[name]["mIoU interval"]) for name in names])
            reach = np.stack([middle - ends[:, 0], ends[:, 1] - middle]).clip(0)
            places = np.arange(len(names)) + (k - (len(parts) - 1) / 2) * thickness
            axes.barh(places, middle, thickness, xerr=reach, ecolor=_INK, label=run)
        counts = [next(iter(parts.values()))[name]["samples"] for name in names]
        labels = [f"{name} ({count})" for name, count in zip(names, counts, strict=True)]
        axes.set_yticks(range(len(names)), labels)
        axes.invert_yaxis()
        axes.set(xlabel="mIoU, %", xlim=(0, 100))
        if len(parts) > 1:
            axes.figure.legend(loc="outside upper left", ncols=3, frameon=False)

    return _draw(draw, height=1.1 + 0.28 * len(names) * max(1.0, 0.7 * len(parts)))


def _draw(draw: Callable[[matplotlib.axes.Axes], None], height: float = 2.6) -> str:
    """Returns `<svg …>…</svg>` of what `draw` puts on the axes of a figure."""
    with matplotlib.rc_context(_STYLE):
        figure = matplotlib.figure.Figure(figsize=(4.4, height), layout="constrained")
        draw(figure.subplots())
        file = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # the names would repeat from chart to chart
    return re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
