"""The TFDS dataset `refsegrs`: referring segmentation of remote sensing images.

Importing the package registers the builder:

```
import tensorflow_datasets as tfds
import tfds_refsegrs

train = tfds.load("refsegrs/synthetic", split="train")
mine = tfds.load("refsegrs/folder", builder_kwargs={"path": "/my/folder"}, split="train")
```
"""

from tfds_referring.phrase_files import LayoutError
from tfds_refsegrs.categories import CATEGORIES, category_of
from tfds_refsegrs.refsegrs_dataset_builder import Builder, RefSegRSConfig
from tfds_refsegrs.synthetic.ids import scene_of

__all__ = [
    "CATEGORIES",
    "Builder",
    "LayoutError",
    "RefSegRSConfig",
    "category_of",
    "scene_of",
]
