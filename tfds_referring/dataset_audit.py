"""The audit of a dataset's tree of files, before or without preparing it."""

import dataclasses
import pathlib

from tfds_referring import audit, foreground, images, packages, reading
from tfds_referring.audit_records import Item
from tfds_referring.samples import Sample


def audit_tree(
    dataset: str,
    folder: pathlib.Path,
    config: str = "official",
    reader: reading.Reader | None = None,
) -> audit.Audit:
    """Audits a tree that the builder of a dataset reads.

    Args:
      dataset: its name, such as "rrsisd".
      folder: the tree.
      config: of the builder.
      reader: see `audit.audit`.

    Returns:
      The audit; `left_out` names the records that are known to be broken.

    Raises:
      LayoutError: if the tree cannot be prepared; it lists why.
      ValueError: there is no such dataset or config.
    """
    builder = packages.builder_class(dataset)(path=folder, config=config)
    tree = builder.read(folder)
    loads = [_Load(sample) for sample in tree.samples]
    triplets = ((load(), load) for load in loads)
    result = audit.audit(f"{dataset}/{config} in {folder}", triplets, reader)
    return dataclasses.replace(result, left_out=tree.left_out)


@dataclasses.dataclass(frozen=True)
class _Load:
    """Reads a sample with its pixels, as often as it is called."""

    sample: Sample

    def __call__(self) -> Item:
        sample = self.sample
        return Item(
            split=sample.split,
            image_id=sample.image_id,
            phrase=sample.phrase,
            image=images.read_image(sample.image),
            mask=sample.mask(),
            values=_grey_values(sample.mask_file) if sample.mask_file else (),
            category=sample.category,
        )


def _grey_values(file: pathlib.Path) -> tuple[int, ...]:
    """Returns the different values of a mask's file; 1 stands for white where it is the largest."""
    values = foreground.different(images.read_values(file))
    return tuple(255 if value == 1 == max(values) else value for value in values)
