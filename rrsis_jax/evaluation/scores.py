"""The numbers of an evaluation, as JSON and as a table."""

import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_collections

from rrsis_jax import io
from rrsis_jax.configuration import run_folder
from rrsis_jax.evaluation import breakdowns, metrics, sample_table
from rrsis_jax.evaluation.sample_table import SampleTable
from rrsis_jax.terminal import screen
from rrsis_jax.terminal.lines import Styled

METRICS_FILE = "metrics.json"
COLUMNS = ("oIoU", "mIoU", *(f"P@{x}" for x in metrics.PRECISION_THRESHOLDS))
LANGUAGE_CHECK = sample_table.LANGUAGE_CHECK
NONE_RATE = "none, phrases absent"
_SHORT = {LANGUAGE_CHECK: "shuffled", NONE_RATE: "none"}  # names where there is little room


def score(table: SampleTable) -> dict[str, Any]:
    """Returns all numbers of an evaluated split.

    Returns:
      The metrics of the `paper` protocol with `oIoU interval` and `mIoU interval`; the same of
      the other protocol under `native`; and, of `paper`, `breakdowns` by column and value.
    """
    return {
        **with_intervals(table, "paper"),
        "native": with_intervals(table, "native"),
        "breakdowns": {
            column: breakdowns.breakdown(table, column, "paper") for column in breakdowns.COLUMNS
        },
    }


def with_intervals(table: SampleTable, protocol: str) -> dict[str, Any]:
    """Returns a protocol's metrics with `oIoU interval` and `mIoU interval`, 95 % bootstrap."""
    intervals = table.intervals(protocol)
    return {
        **table.summary(protocol),
        **{f"{name} interval": list(ends) for name, ends in intervals.items()},
    }


def make_report(
    config: ml_collections.ConfigDict,
    step: int,
    scores: dict[str, Any],
    history: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Returns what `metrics.json` holds.

    Args:
      config: the run's configuration.
      step: of the evaluated checkpoint.
      scores: made by `score_splits`.
      history: one record per validation; None if unknown.

    Returns:
      `best_step`, `config_sha256`, `legend`, `splits` and, if known, `history`.
    """
    report = {
        "best_step": step,
        "config_sha256": run_folder.config_hash(config),
        "legend": metrics.LEGEND,
        "splits": scores,
    }
    return report if history is None else {**report, "history": list(history)}


def table(scores: dict[str, dict[str, Any]]) -> str:
    """Returns the metrics of each split and protocol in percent, as a Markdown table.

    Args:
      scores: made by `score_splits`.
    """
    header, *rows = _cells(scores, COLUMNS, _percent)
    marked = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in marked)


def show_table(scores: dict[str, dict[str, Any]]) -> None:
    """Shows the table on the screen; a terminal gets as much of it as it has columns for."""
    screen.current().result(table(scores), lambda width: _fitted(scores, width))


def _fitted(scores: dict[str, dict[str, Any]], width: int) -> list[Styled]:
    """Returns the table in aligned columns: with intervals, without them, or with fewer P@X."""
    fewer = tuple(column for column in COLUMNS if column not in ("P@0.6", "P@0.8"))
    for columns, write in ((COLUMNS, _percent), (COLUMNS, _plain_percent), (fewer, _plain_percent)):
        rows = _cells(scores, columns, write)
        rows[0] = [_SHORT.get(name, name) for name in rows[0]]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        if sum(widths) + 2 * (len(widths) - 1) <= width:
            break
    names = 2  # columns of text, to the left
    lines = [
        "  ".join(
            cell.ljust(w) if k < names else cell.rjust(w)
            for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return [((lines[0], "dim"),), *(((line, ""),) for line in lines[1:])]


def _cells(
    scores: dict[str, dict[str, Any]],
    columns: Sequence[str],
    write: Callable[[Mapping[str, Any], str], str],
) -> list[list[str]]:
    """Returns the rows of the table, first the names of its columns."""
    checks = [c for c in (LANGUAGE_CHECK, NONE_RATE) if all(c in v for v in scores.values())]
    rows = [["split", "protocol", "samples", *columns, *checks]]
    for name, values in scores.items():
        for protocol, part in (("paper", values), ("native", values["native"])):
            checked = [write(values, c) if protocol == "paper" else "" for c in checks]
            percent = [write(part, column) for column in columns]
            rows.append([name, protocol, str(part["samples"]), *percent, *checked])
    return rows


def write_metrics(path: pathlib.Path, report: dict[str, Any]) -> None:
    """Writes a report as JSON and, beside it, its table as Markdown with a legend."""
    io.write_text(path, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    legend = "\n".join(f"- {name}: {meaning}" for name, meaning in report["legend"].items())
    io.write_text(
        path.with_suffix(".md"),
        f"{table(report['splits'])}\n\nIn percent, with bootstrap 95 % intervals; checkpoint "
        f"{report['best_step']}, configuration {report['config_sha256'][:12]}.\n\n{legend}\n",
    )


def _plain_percent(values: Mapping[str, Any], column: str) -> str:
    return f"{100 * values[column]:.2f}"


def _percent(values: Mapping[str, Any], column: str) -> str:
    number = _plain_percent(values, column)
    if f"{column} interval" not in values:
        return number
    low, high = values[f"{column} interval"]
    return f"{number} [{100 * low:.2f}, {100 * high:.2f}]"
