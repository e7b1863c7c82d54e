"""The numbers of an evaluation, as JSON and as a table."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from rrsis_jax import io
from rrsis_jax.configuration import run_folder
from rrsis_jax.evaluation import breakdowns, metrics, sample_table
from rrsis_jax.evaluation.sample_table import SampleTable

METRICS_FILE = "metrics.json"
COLUMNS = ("oIoU", "mIoU", *(f"P@{x}" for x in metrics.PRECISION_THRESHOLDS))
LANGUAGE_CHECK = sample_table.LANGUAGE_CHECK
NONE_RATE = "none, phrases absent"


def score(found: SampleTable) -> dict[str, Any]:
    """Returns all numbers of an evaluated split.

    Returns:
      The metrics of the `paper` protocol with `oIoU interval` and `mIoU interval`; the same of
      the other protocol under `native`; and, of `paper`, `breakdowns` by column and value.
    """
    return {
        **with_intervals(found, "paper"),
        "native": with_intervals(found, "native"),
        "breakdowns": {
            column: breakdowns.breakdown(found, column, "paper") for column in breakdowns.COLUMNS
        },
    }


def with_intervals(found: SampleTable, protocol: str) -> dict[str, Any]:
    """Returns a protocol's metrics with `oIoU interval` and `mIoU interval`, 95 % bootstrap."""
    intervals = found.intervals(protocol)
    return {
        **found.summary(protocol),
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
    checks = [c for c in (LANGUAGE_CHECK, NONE_RATE) if all(c in v for v in scores.values())]
    header = ["split", "protocol", "samples", *COLUMNS, *checks]
    rows = [header, ["---"] * len(header)]
    for name, values in scores.items():
        for protocol, part in (("paper", values), ("native", values["native"])):
            checked = [_percent(values, c) if protocol == "paper" else "" for c in checks]
            percent = [_percent(part, column) for column in COLUMNS]
            rows.append([name, protocol, str(part["samples"]), *percent, *checked])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def write_metrics(path: pathlib.Path, report: dict[str, Any]) -> None:
    """Writes a report as JSON and, beside it, its table as Markdown with a legend."""
    io.write_text(path, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    legend = "\n".join(f"- {name}: {meaning}" for name, meaning in report["legend"].items())
    io.write_text(
        path.with_suffix(".md"),
        f"{table(report['splits'])}\n\nIn percent, with bootstrap 95 % intervals; checkpoint "
        f"{report['best_step']}, configuration {report['config_sha256'][:12]}.\n\n{legend}\n",
    )


def _percent(values: Mapping[str, Any], column: str) -> str:
    number = f"{100 * values[column]:.2f}"
    if f"{column} interval" not in values:
        return number
    low, high = values[f"{column} interval"]
    return f"{number} [{100 * low:.2f}, {100 * high:.2f}]"
