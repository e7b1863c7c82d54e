"""The TFDS dataset `rrsisd`: RRSIS-D, and any folder in REFER's layout.

Importing the package registers the builder:

```
import tensorflow_datasets as tfds
import tfds_rrsisd

train = tfds.load("rrsisd", builder_kwargs={"path": "/data/RRSIS-D"}, split="train")
```
"""

from tfds_rrsisd.categories import CLASS_NAMES
from tfds_rrsisd.rrsisd_dataset_builder import Builder

__all__ = ["CLASS_NAMES", "Builder"]
