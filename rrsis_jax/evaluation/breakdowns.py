"""The metrics of parts of a split: by category, by the form of the phrase, by target size."""

from typing import Any

from rrsis_jax.data import annotations
from rrsis_jax.evaluation.sample_table import SampleTable

COLUMNS = ("category", "form", "size")


def breakdown(table: SampleTable, column: str, protocol: str) -> dict[str, dict[str, Any]]:
    """Returns the metrics of every value of a column.

    Args:
      table: a split's samples.
      column: one of `COLUMNS`.
      protocol: `paper` or `native`.

    Returns:
      For each value that occurs its metrics (see `metrics.summarize`, the number of samples
      among them) and `mIoU interval`: categories by falling number of samples, forms and sizes
      in their own order.
    """
    values = table.column(column)
    parts = {value: table.subset(values == value) for value in _in_order(column, values.tolist())}
    return {
        value: {
            **part.summary(protocol),
            "mIoU interval": list(part.intervals(protocol)["mIoU"]),
        }
        for value, part in parts.items()
    }


def _in_order(column: str, values: list[str]) -> list[str]:
    present = set(values)
    if column in annotations.ORDERS:
        return [value for value in annotations.ORDERS[column] if value in present]
    return sorted(present, key=lambda value: (-values.count(value), value))
