"""The self-contained HTML page that reports and comparisons share: view model and rendering."""

import collections
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import ml_collections
import numpy as np
from PIL import Image

from rrsis_jax import io
from rrsis_jax.data import annotations, contents, datasets
from rrsis_jax.evaluation import breakdowns, mask_files, metrics
from rrsis_jax.evaluation.sample_table import Sample, SampleTable
from rrsis_jax.reporting import gallery


@dataclasses.dataclass(frozen=True)
class Row:
    """A sample as the page shows it.

    Attributes:
      index: place in the split.
      image_id: the dataset's name.
      phrase: the referring expression.
      category: filter value.
      form: filter value.
      size: filter value.
      share: the target's share of the image.
      iou: filter value, in [0, 1].
      numbers: what the table's last columns show.
    """

    index: int
    image_id: str
    phrase: str
    category: str
    form: str
    size: str
    share: float
    iou: float
    numbers: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Card:
    """A picture in the gallery: its sample, a data URI, its size in pixels, a caption."""

    sample: Row
    picture: str
    width: int
    height: int
    caption: str


@dataclasses.dataclass(frozen=True)
class Section:
    """A titled row of cards."""

    title: str
    cards: list[Card]


class Pictures:
    """Images, targets and predicted masks of an evaluated split."""

    def __init__(
        self, config: ml_collections.ConfigDict, table: SampleTable, folders: Sequence[pathlib.Path]
    ):
        """Opens the dataset that was evaluated.

        Args:
          config: of the run, which says where the dataset is.
          table: the evaluated split.
          folders: predicted masks, one folder a run, see `mask_files.save`.

        Raises:
          ValueError: if the dataset is not to be had, or holds something else now.
        """
        data = config.data
        builder = datasets.prepare(data.dataset, data.data_dir, data.folder, data.foreground)
        split = table.about["split"]
        self._source = datasets.open_split(builder, split)
        try:
            then = {split: contents.of_document(table.about["data"])}
        except ValueError as error:
            raise ValueError(f"The evaluation is damaged: {error} Evaluate it again.") from error
        changes = contents.differences(then, contents.read(builder, data.num_threads).splits)
        if changes:
            raise ValueError(
                f"The data in {data.folder or builder.data_path} are not those that were "
                f"evaluated: {changes[0]}. Evaluate the split again, or give the folder of the "
                "evaluated data: --folder."
            )
        self._folders = folders

    def card(self, row: Row, caption: str) -> Card:
        """Draws a sample.

        Raises:
          ValueError: if a predicted mask is missing.
        """
        example = self._source[row.index]
        masks = [_read_mask(mask_files.mask_file(folder, row.index)) for folder in self._folders]
        picture = gallery.picture(example["image"], example["mask"][..., 0], masks)
        width = gallery.SIDE + len(masks) * (gallery.GAP + gallery.SIDE)
        return Card(row, picture, width, gallery.SIDE, caption)


def rows(table: SampleTable, iou: np.ndarray, numbers: Sequence[np.ndarray]) -> list[Row]:
    """Returns the page's rows.

    Args:
      table: the samples.
      iou: (n,), by which the page filters.
      numbers: columns (n,) for the page's table.
    """
    columns = zip(table.samples, iou.tolist(), *(x.tolist() for x in numbers), strict=True)
    return [_row(sample, score, tuple(values)) for sample, score, *values in columns]


def wrong_share(table: SampleTable) -> np.ndarray:
    """Returns the share of the evaluated pixels, (n,), where prediction and target disagree."""
    intersection, union = table.counts("paper")
    return (union - intersection) / table.about["image_size"] ** 2


def write(path: pathlib.Path, template: str, samples: Sequence[Row], **content: Any) -> None:
    """Renders a page.

    Args:
      path: the file to write.
      template: a file of `rrsis_jax/reporting/templates` that extends `page.html.j2`.
      samples: all samples of the split.
      **content: the template's other variables.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rrsis_jax.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template(template).render(
        samples=samples, filters=_filters(samples), legend=metrics.LEGEND, **content
    )
    io.write_text(path, html)


def _row(sample: Sample, iou: float, numbers: tuple[float, ...]) -> Row:
    return Row(
        index=sample.index,
        image_id=sample.image_id,
        phrase=sample.phrase,
        category=sample.category,
        form=sample.form,
        size=sample.size,
        share=sample.target_share,
        iou=iou,
        numbers=numbers,
    )


def _filters(samples: Sequence[Row]) -> Mapping[str, Mapping[str, int]]:
    """Returns the values of each filter with their number of samples."""
    filters = {}
    for column in breakdowns.COLUMNS:
        counts = collections.Counter(getattr(row, column) for row in samples)
        order = annotations.ORDERS.get(column, sorted(counts))
        filters[column] = {value: counts[value] for value in order if value in counts}
    return filters


def _read_mask(path: pathlib.Path) -> np.ndarray:
    if not path.is_file():
        raise ValueError(f"{path} does not exist. Evaluate the split again.")
    return np.asarray(Image.open(path))
