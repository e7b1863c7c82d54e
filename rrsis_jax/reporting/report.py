"""An evaluated run as one HTML file that opens from disk."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from rrsis_jax import constants, io
from rrsis_jax.configuration import run_folder
from rrsis_jax.evaluation import mask_files, sample_table
from rrsis_jax.evaluation.sample_table import SampleTable
from rrsis_jax.evaluation.scores import COLUMNS, LANGUAGE_CHECK, METRICS_FILE, score
from rrsis_jax.reporting import charts, gallery, html_page

_RERUN = "give the command that trained the run again, which writes it anew."


def write_report(
    workdir: pathlib.Path | str,
    split: str,
    output: pathlib.Path | str | None = None,
    pictures: int = constants.PICTURES,
    data_folder: str = "",
) -> pathlib.Path:
    """Writes the report of an evaluated split of a run.

    Args:
      workdir: the run's folder; it holds `evaluation_<split>.json` and the predicted masks.
      split: `train`, `validation` or `test`.
      output: the file to write; `report_<split>.html` in the workdir by default.
      pictures: how many of each kind (best, median, worst, largest disagreement).
      data_folder: where the data are now; "" for where the run began with them.

    Returns:
      The file.

    Raises:
      ValueError: if the folder holds no run or no evaluation of the split, or the dataset is not
        to be had.
    """
    folder = pathlib.Path(workdir)
    table = sample_table.load(folder, split)
    scores = score(table)
    config = run_folder.load(folder, data_folder)
    shown = html_page.Pictures(config, table, [mask_files.masks_folder(folder, split)])
    rows = html_page.rows(table, table.iou("paper"), [table.iou("paper"), table.iou("native")])
    path = pathlib.Path(output) if output else folder / f"report_{split}.html"
    html_page.write(
        path,
        "report.html.j2",
        rows,
        title=f"{folder.absolute().name} on {table.about['dataset']}, {split}",
        facts=_facts(table),
        metrics={"paper": scores, "native": scores["native"]},
        columns=COLUMNS,
        shuffled=table.about[LANGUAGE_CHECK],
        chart_groups=_charts(table, scores["breakdowns"], _history(folder)),
        gallery=_gallery(table, rows, shown, pictures),
        panels="the image; target and prediction on it",
        wide=False,
        iou_name="IoU",
        value_names=["IoU, paper", "IoU, native"],
    )
    return path


def _facts(table: SampleTable) -> dict[str, Any]:
    about = table.about
    return {
        "model": about["model"].upper(),
        "samples": f"{len(table.samples)}, of {len(set(table.column('tile').tolist()))} images",
        "evaluated at": f"{about['image_size']} × {about['image_size']} pixels",
        "checkpoint": f"step {about['checkpoint_step']}, the best by validation mIoU",
        "configuration": about["config_sha256"][:12],
    }


def _charts(
    table: SampleTable, parts: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, str]]:
    titles = {"form": "By form of phrase", "size": "By target size", "category": "By category"}
    bars = {
        title: charts.breakdown_bars({"run": parts[column]}) for column, title in titles.items()
    }
    curves = {"Learning curves": charts.learning_curves(history)} if history else {}
    return {
        "Where it works (paper protocol)": {
            "IoU of the samples": charts.iou_histogram({"run": table.iou("paper")}),
            **bars,
        },
        **curves,
    }


def _history(folder: pathlib.Path) -> Sequence[Mapping[str, Any]]:
    """Returns the validations of the run; none before it has finished.

    Raises:
      ValueError: if what is stored about them is damaged.
    """
    path = folder / METRICS_FILE
    history = io.read_json(path).get("history", []) if path.exists() else []
    try:
        numbers = [float(record[key]) for record in history for key in charts.CURVES]
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{path} holds a damaged history ({error!r}); {_RERUN}") from error
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{path} holds a history with numbers that are not finite; {_RERUN}")
    return history


def _gallery(
    table: SampleTable, rows: Sequence[html_page.Row], shown: html_page.Pictures, count: int
) -> list[html_page.Section]:
    chosen = gallery.choose(table.iou("paper"), html_page.wrong_share(table), count)
    return [
        html_page.Section(title, [shown.card(rows[i], f"IoU {rows[i].iou:.2f}") for i in places])
        for title, places in chosen.items()
    ]
