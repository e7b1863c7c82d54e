"""Several prepared datasets as one: trained on together, evaluated one by one.

A mixture has the splits of its parts behind one another, and every part's own splits under its
name: `test` is all of them, `test_rrsisd` one. Categories are the union of the parts'.
"""

import bisect
import itertools
import pathlib
import types
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tfds_referring import features

_SHARED = ("image", "mask", "expression", "image_id", "category")


class Mixture:
    """What this package uses of a TFDS builder, over several of them.

    Attributes:
      parts: the builders by their names in the mixture.
      info: `full_name`, the sizes of `splits`, and `features` of which `category` names the labels.
    """

    def __init__(self, builders: Sequence[tfds.core.DatasetBuilder]):
        """Joins prepared datasets.

        Args:
          builders: two or more. A part is named after its dataset, and after its config too where
            two are of one dataset.

        Raises:
          ValueError: a dataset occurs twice.
        """
        self.parts = {_part_name(builder, builders): builder for builder in builders}
        if len(self.parts) < len(builders):
            names = ", ".join(builder.info.full_name for builder in builders)
            raise ValueError(f"data.dataset names a dataset twice: {names}. Name each once.")
        labels = [features.category(builder.info).names for builder in builders]
        category = tfds.features.ClassLabel(names=list(dict.fromkeys(itertools.chain(*labels))))
        self.info = types.SimpleNamespace(
            full_name=" + ".join(builder.info.full_name for builder in builders),
            features={"category": category},
            splits=self._splits(),
        )

    @property
    def data_path(self) -> pathlib.Path:
        """The folder of the first part, for messages."""
        return pathlib.Path(next(iter(self.parts.values())).data_path)

    def evaluated(self, split: str) -> list[str]:
        """Returns the parts' own splits of a name, such as `test_refsegrs` and `test_rrsisd`.

        A name that no part has, or that is a part's own split already, comes back alone.
        """
        parts = [name for name, part in self.parts.items() if split in part.info.splits]
        return [own_split(split, name) for name in parts] or [split]

    def sizes(self, split: str) -> list[int]:
        """Returns the parts' sizes of a split, in order; 0 where one has no such split."""
        splits = [part.info.splits for part in self.parts.values()]
        return [held[split].num_examples if split in held else 0 for held in splits]

    def as_data_source(
        self, split: str, decoders: Mapping[str, Any] | None = None
    ) -> "Concatenation":
        """Returns random access to the examples of a split.

        Args:
          split: one of `info.splits`.
          decoders: see `tfds.core.DatasetBuilder.as_data_source`.
        """
        own = {own_split(split, name): (split, name) for split, name in self._own()}
        if split in own:
            its_split, name = own[split]
            chosen = {name: its_split}
        else:
            chosen = {name: split for name, part in self.parts.items() if split in part.info.splits}
        known = features.category(self.info)
        sources, labels = [], []
        for name, its_split in chosen.items():
            part = self.parts[name]
            sources.append(part.as_data_source(split=its_split, decoders=decoders))
            names = features.category(part.info).names
            labels.append(np.array([known.str2int(label) for label in names]))
        return Concatenation(list(chosen), sources, labels)

    def _own(self) -> list[tuple[str, str]]:
        """Returns the (split, part) of every split that is a part's own."""
        return [(split, name) for name, part in self.parts.items() for split in part.info.splits]

    def _splits(self) -> dict[str, Any]:
        all_of_them = dict.fromkeys(
            split for part in self.parts.values() for split in part.info.splits
        )
        own = {
            own_split(split, name): self.parts[name].info.splits[split].num_examples
            for split, name in self._own()
        }
        return {**{split: sum(self.sizes(split)) for split in all_of_them}, **own}


class Concatenation:
    """Examples of several sources behind one another, with the features that all datasets have."""

    def __init__(self, names: Sequence[str], sources: Sequence[Any], labels: Sequence[np.ndarray]):
        """Joins sources.

        Args:
          names: of the parts; ids of samples begin with them.
          sources: random access to the examples of each.
          labels: int (n,) for each, the label here of each label there.
        """
        self._parts = list(zip(names, sources, labels, strict=True))
        self._ends = list(itertools.accumulate(len(source) for source in sources))

    def __len__(self) -> int:
        """Returns the number of examples."""
        return self._ends[-1]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns an example."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        place = bisect.bisect_right(self._ends, index)
        name, source, labels = self._parts[place]
        example = source[index - (self._ends[place] - len(source))]
        image_id = example["image_id"]
        image_id = image_id.decode() if isinstance(image_id, bytes) else image_id
        return {
            **{key: example[key] for key in _SHARED},
            "image_id": f"{name}/{image_id}",
            "category": int(labels[int(example["category"])]),
        }


def own_split(split: str, part: str) -> str:
    """Returns the name in a mixture of a part's own split, such as `test_rrsisd`."""
    return f"{split}_{part}"


def _part_name(
    builder: tfds.core.DatasetBuilder, builders: Sequence[tfds.core.DatasetBuilder]
) -> str:
    if sum(other.name == builder.name for other in builders) == 1:
        return builder.name
    return f"{builder.name}_{builder.builder_config_name}"
