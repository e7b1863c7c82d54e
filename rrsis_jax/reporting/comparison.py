"""Evaluations of one split side by side: differences with paired intervals, changed samples.

Differences are to the first run.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rrsis_jax import constants
from rrsis_jax.configuration import run_folder
from rrsis_jax.evaluation import bootstrap, breakdowns, mask_files, metrics, sample_table
from rrsis_jax.evaluation.sample_table import SampleTable
from rrsis_jax.evaluation.scores import COLUMNS, LANGUAGE_CHECK, with_intervals
from rrsis_jax.reporting import charts, html_page


def differences(tables: Mapping[str, SampleTable], protocol: str) -> dict[str, dict[str, Any]]:
    """Returns what each run gains on the first one.

    Args:
      tables: at least two evaluations of the same samples, by name of the run.
      protocol: `paper` or `native`.

    Returns:
      For each run but the first the differences of its metrics, and `oIoU interval` and `mIoU
      interval`, the 95 % intervals of a paired bootstrap.

    Raises:
      ValueError: see `sample_table.check_same_samples`.
    """
    sample_table.check_same_samples(tables)
    (_, base), *others = tables.items()
    summary, drawn = base.summary(protocol), base.resample(protocol)
    differences = {}
    for name, table in others:
        own, resampled = table.summary(protocol), table.resample(protocol)
        differences[name] = {column: own[column] - summary[column] for column in COLUMNS}
        for column, values in resampled.items():
            ends = bootstrap.interval(values - drawn[column])
            differences[name][f"{column} interval"] = list(ends)
    return differences


def write_comparison(
    workdirs: Sequence[pathlib.Path | str],
    split: str,
    output: pathlib.Path | str,
    pictures: int = 2 * constants.PICTURES,
    data_folder: str = "",
) -> pathlib.Path:
    """Writes the page that compares evaluated runs.

    Args:
      workdirs: two or more folders of runs, evaluated on the split.
      split: `train`, `validation` or `test`.
      output: the file to write.
      pictures: how many of the samples that changed most are shown.
      data_folder: where the data are now; "" for where the first run began with them.

    Returns:
      The file.

    Raises:
      ValueError: if there is nothing to compare, see
        `sample_table.check_same_samples` and `sample_table.load`.
    """
    folders = [pathlib.Path(workdir).absolute() for workdir in workdirs]
    names = sample_table.names(folders)
    tables = {
        name: sample_table.load(folder, split) for name, folder in zip(names, folders, strict=True)
    }
    protocols = tuple(metrics.EMPTY_SCORES)
    gains = {protocol: differences(tables, protocol) for protocol in protocols}
    first = tables[names[0]]
    scores = [table.iou("paper") for table in tables.values()]
    change = largest_change(scores)
    rows = html_page.rows(first, scores[0], [*scores, change])
    masks = [mask_files.masks_folder(folder, split) for folder in folders]
    shown = html_page.Pictures(run_folder.load(folders[0], data_folder), first, masks)
    html_page.write(
        pathlib.Path(output),
        "compare.html.j2",
        rows,
        title=f"{', '.join(names)} on {first.about['dataset']}, {split}",
        facts=_facts(tables),
        metrics={protocol: _scores(tables, protocol) for protocol in protocols},
        differences=gains,
        columns=COLUMNS,
        first=names[0],
        chart_groups={"Where they differ (paper protocol)": _charts(tables)},
        gallery=_gallery(rows, change, shown, pictures),
        panels=f"the image; then target and prediction of {', '.join(names)}",
        wide=True,
        iou_name=f"IoU of {names[0]}",
        value_names=[*(f"IoU, {name}" for name in names), "largest change"],
    )
    return pathlib.Path(output)


def largest_change(scores: Sequence[np.ndarray]) -> np.ndarray:
    """Returns for each sample, (n,), the signed difference to the first run that is largest.

    Args:
      scores: (n,) of each run.
    """
    changes = np.stack([other - scores[0] for other in scores[1:]])
    return np.take_along_axis(changes, np.abs(changes).argmax(axis=0)[None], axis=0)[0]


def _facts(tables: Mapping[str, SampleTable]) -> dict[str, str]:
    return {
        name: f"{table.about['model'].upper()}, {len(table.samples)} samples at "
        f"{table.about['image_size']} pixels, checkpoint {table.about['checkpoint_step']}, "
        f"configuration {table.about['config_sha256'][:12]}, mIoU with shuffled phrases "
        f"{100 * table.about[LANGUAGE_CHECK]:.2f}"
        for name, table in tables.items()
    }


def _scores(tables: Mapping[str, SampleTable], protocol: str) -> dict[str, dict[str, Any]]:
    return {name: with_intervals(table, protocol) for name, table in tables.items()}


def _charts(tables: Mapping[str, SampleTable]) -> dict[str, str]:
    titles = {"form": "By form of phrase", "size": "By target size", "category": "By category"}
    histogram = charts.iou_histogram({name: t.iou("paper") for name, t in tables.items()})
    bars = {
        title: charts.breakdown_bars(
            {name: breakdowns.breakdown(t, column, "paper") for name, t in tables.items()}
        )
        for column, title in titles.items()
    }
    return {"IoU of the samples": histogram, **bars}


def _gallery(
    rows: Sequence[html_page.Row], change: np.ndarray, shown: html_page.Pictures, count: int
) -> list[html_page.Section]:
    """Returns the samples that gained and lost most on the first run."""
    rising = np.argsort(change, kind="stable")
    half = -(-count // 2)
    chosen = {
        "Gained most": [i for i in rising[::-1][:half] if change[i] > 0],
        "Lost most": [i for i in rising[:half] if change[i] < 0],
    }
    return [
        html_page.Section(
            title,
            [shown.card(rows[i], " → ".join(f"{x:.2f}" for x in rows[i].numbers[:-1])) for i in at],
        )
        for title, at in chosen.items()
    ]
