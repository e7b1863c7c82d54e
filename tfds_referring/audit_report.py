"""An audit on paper: Markdown table, JSON and a sheet of pictures."""

import collections
import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import matplotlib.figure
import numpy as np
from PIL import Image

from tfds_referring import target_sizes
from tfds_referring.audit import Audit
from tfds_referring.audit_findings import KINDS, Finding
from tfds_referring.audit_records import Record

_COLUMNS = 6  # pictures in a row of the sheet
_SIDE = 160  # of a picture, in pixels
_OUTLINE = (51, 242, 242)
_LISTED = 5  # findings of a kind that the table names


def write(audit: Audit, folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes `audit.md`, `audit.json` and `audit.png`.

    Args:
      audit: see `audit.audit`.
      folder: where to; created if need be.

    Returns:
      The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"audit.{suffix}" for suffix in ("md", "json", "png")]
    # Hidden until all three are complete, so that an interruption leaves an earlier audit as it is.
    partial = [file.with_name(f".{file.name}") for file in files]
    try:
        partial[0].write_text(table(audit), encoding="utf-8")
        text = json.dumps(as_dict(audit), indent=2, ensure_ascii=False)
        partial[1].write_text(text + "\n", encoding="utf-8")
        sheet(audit).savefig(partial[2], dpi=100)
        for hidden, file in zip(partial, files, strict=True):
            hidden.replace(file)
    finally:
        for hidden in partial:
            hidden.unlink(missing_ok=True)
    return files


def as_dict(audit: Audit) -> dict[str, Any]:
    """Returns the audit as plain data: `dataset`, `findings`, `left out`, `statistics`."""
    return {
        "dataset": audit.name,
        "findings": [
            {
                "kind": finding.kind,
                "samples": [record.name for record in finding.records],
                "detail": finding.detail,
            }
            for finding in audit.findings
        ],
        "left out": [dataclasses.asdict(record) for record in audit.left_out],
        "statistics": audit.statistics,
    }


def table(audit: Audit) -> str:
    """Returns the audit as Markdown: the findings, then the splits side by side."""
    by_kind = _by_kind(audit.findings)
    lines = [f"# Audit of {audit.name}", "", "| found | number | samples |", "|---|---|---|"]
    for kind, meaning in KINDS.items():
        findings = by_kind[kind]
        lines.append(f"| {kind}: {meaning} | {len(findings)} | {_named(findings)} |")
    if audit.left_out:
        lines += ["", f"Left out as known to be broken: {len(audit.left_out)}", ""]
        lines += [f"- {record.name}: {record.reason}" for record in audit.left_out]
    splits = audit.statistics["splits"]
    lines += ["", "| | " + " | ".join(splits) + " |", "|---|" + "---|" * len(splits)]
    for label, key in (
        ("triplets", "triplets"),
        ("different tiles", "tiles"),
        ("different phrases", "different phrases"),
        ("masks with specks, regions below a tenth of the largest", "masks with specks"),
        ("specks", "specks"),
    ):
        lines.append(_line(label, [part[key] for part in splits.values()]))
    words = [f"{part['words per phrase']:.1f}" for part in splits.values()]
    lines.append(_line("words per phrase", words))
    for label in ("phrases unseen in training", "words unseen in training"):
        unseen = audit.statistics[label]
        lines.append(_line(label, [len(unseen.get(split, ())) for split in splits]))
    for title, key, order in (
        ("image size", "image sizes", None),
        ("category", "categories", None),
        ("form", "forms", None),
        ("target", "target sizes", target_sizes.SIZES),
    ):
        counts = [part[key] for part in splits.values()]
        for value in order or list(dict.fromkeys(name for part in counts for name in part)):
            lines.append(_line(f"{title}: {value}", [part.get(value, 0) for part in counts]))
    for name in next(iter(splits.values()))["target share"]:
        shares = [f"{100 * part['target share'][name]:.2f} %" for part in splits.values()]
        lines.append(_line(f"target share of the image, {name}", shares))
    return "\n".join(lines) + "\n"


def sheet(audit: Audit) -> matplotlib.figure.Figure:
    """Draws target sizes, categories, samples of each split and of each kind of finding.

    Targets are outlined.
    """
    rows = _picture_rows(audit)
    figure = matplotlib.figure.Figure(
        figsize=(1.9 * _COLUMNS, 3.6 + 2.3 * len(rows)), layout="constrained"
    )
    parts: Any = figure.subfigures(2, 1, height_ratios=[3.6, 2.3 * len(rows)])
    head, body = parts
    figure.suptitle(f"Audit of {audit.name}: {len(audit.findings)} finding(s)")
    _draw_statistics(head, audit)
    for part, (title, records) in zip(
        np.atleast_1d(body.subfigures(len(rows), 1)), rows, strict=True
    ):
        part.suptitle(title, fontsize=9, ha="left", x=0.01)
        for axes, record in zip(part.subplots(1, _COLUMNS), _filled(records), strict=True):
            axes.set_axis_off()
            if record is not None:
                axes.imshow(_outlined(record))
                label = f"{record.name}\n{record.phrase}"
                axes.set_title(label, fontsize=6.5, wrap=True, parse_math=False)
    return figure


def _picture_rows(audit: Audit) -> list[tuple[str, list[Record]]]:
    rows = []
    for split in audit.statistics["splits"]:
        part = [record for record in audit.records if record.split == split]
        places = np.linspace(0, len(part) - 1, min(_COLUMNS, len(part))).round().astype(int)
        rows.append((f"{split}: {len(part)} triplets", [part[i] for i in places]))
    for kind, findings in _by_kind(audit.findings).items():
        if findings:
            rows.append((f"{kind}: {len(findings)}", _examples(findings)))
    return rows


def _examples(findings: Sequence[Finding]) -> list[Record]:
    """Returns the triplets to show, two of every group."""
    return [record for finding in findings for record in finding.examples[:2]][:_COLUMNS]


def _filled(records: Sequence[Record]) -> list[Record | None]:
    return [*records, *[None] * (_COLUMNS - len(records))]


def _draw_statistics(figure: matplotlib.figure.SubFigure, audit: Audit) -> None:
    left, right = figure.subplots(1, 2)
    shares = [100 * record.share for record in audit.records]
    left.hist(shares, bins=np.linspace(0, 100, 41))
    left.set(xlabel="target share of the image, %", ylabel="triplets")
    counts = collections.Counter(record.category for record in audit.records).most_common()
    right.barh([name for name, _ in counts], [count for _, count in counts])
    right.invert_yaxis()
    right.set(xlabel="triplets")
    for axes in (left, right):
        axes.tick_params(labelsize=7)


def _outlined(record: Record) -> np.ndarray:
    item = record.load()
    image = np.array(Image.fromarray(item.image).resize((_SIDE, _SIDE)))
    mask = np.array(Image.fromarray(item.mask).resize((_SIDE, _SIDE), Image.Resampling.NEAREST))
    padded = np.pad(mask, 1, mode="edge")
    core = padded[2:, 1:-1] & padded[:-2, 1:-1] & padded[1:-1, 2:] & padded[1:-1, :-2]
    image[mask & ~core] = _OUTLINE
    return image


def _by_kind(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    return {kind: [finding for finding in findings if finding.kind == kind] for kind in KINDS}


def _named(findings: Sequence[Finding]) -> str:
    names = []
    for finding in findings[:_LISTED]:
        about = [record.name for record in finding.examples]
        shown = " = ".join(about[:3]) + (f" and {len(about) - 3} more" if len(about) > 3 else "")
        names.append(f"{shown} ({finding.detail})" if finding.detail else shown)
    rest = len(findings) - _LISTED
    return "; ".join(names).replace("|", "\\|") + (f"; and {rest} more" if rest > 0 else "")


def _line(label: str, values: Sequence[Any]) -> str:
    return "| " + " | ".join([label, *map(str, values)]) + " |"
