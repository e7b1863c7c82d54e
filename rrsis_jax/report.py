"""An evaluated run as one HTML file that opens from disk.

rrsis-train --config=… --workdir=runs/quickstart --mode=evaluate --split=test
rrsis-report --workdir runs/quickstart --split test
"""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from rrsis_jax import (
    charts,
    command,
    constants,
    documents,
    gallery,
    page,
    parsers,
    results,
    run_config,
    sample_table,
)
from rrsis_jax.sample_table import SampleTable

_RERUN = "give the command that trained the run again, which writes it anew."


def write_report(
    workdir: pathlib.Path | str,
    split: str,
    output: pathlib.Path | str | None = None,
    pictures: int = constants.PICTURES,
) -> pathlib.Path:
    """Writes the report of an evaluated split of a run.

    Args:
      workdir: the run's folder; it holds `evaluation_<split>.json` and the predicted masks.
      split: `train`, `validation` or `test`.
      output: the file to write; `report_<split>.html` in the workdir by default.
      pictures: how many of each kind (best, median, worst, largest disagreement).

    Returns:
      The file.

    Raises:
      ValueError: if the folder holds no run or no evaluation of the split, or the dataset is not
        to be had.
    """
    folder = pathlib.Path(workdir)
    table = sample_table.load(folder, split)
    scores = results.score(table)
    shown = page.Pictures(run_config.load(folder), table, [results.masks_folder(folder, split)])
    rows = page.rows(table, table.iou("paper"), [table.iou("paper"), table.iou("native")])
    path = pathlib.Path(output) if output else folder / f"report_{split}.html"
    page.write(
        path,
        "report.html.j2",
        rows,
        title=f"{folder.absolute().name} on {table.about['dataset']}, {split}",
        facts=_facts(table),
        metrics={"paper": scores, "native": scores["native"]},
        columns=results.COLUMNS,
        shuffled=table.about[results.LANGUAGE_CHECK],
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
        "model": about["decoder"].upper(),
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
    path = folder / results.METRICS_FILE
    history = documents.read_json(path).get("history", []) if path.exists() else []
    try:
        numbers = [float(record[key]) for record in history for key in charts.CURVES]
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{path} holds a damaged history ({error!r}); {_RERUN}") from error
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{path} holds a history with numbers that are not finite; {_RERUN}")
    return history


def _gallery(
    table: SampleTable, rows: Sequence[page.Row], shown: page.Pictures, count: int
) -> list[page.Section]:
    chosen = gallery.choose(table.iou("paper"), page.wrong_share(table), count)
    return [
        page.Section(title, [shown.card(rows[i], f"IoU {rows[i].iou:.2f}") for i in places])
        for title, places in chosen.items()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes one report; `arguments` default to those of the process."""
    options = parsers.report().parse_args(arguments)
    print(write_report(options.workdir, options.split, options.output, options.pictures))


def run() -> None:
    """Entry point of the process."""
    command.run(main, "No page was written or changed; give the same command again.")


if __name__ == "__main__":
    run()
