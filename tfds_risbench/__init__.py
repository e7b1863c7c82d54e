"""The TFDS dataset `risbench`: RISBench, and any folder in its layout.

Importing the package registers the builder:

```
import tensorflow_datasets as tfds
import tfds_risbench

train = tfds.load("risbench", builder_kwargs={"path": "/data/RISBench_dataset"}, split="train")
```
"""

from tfds_risbench.categories import CLASS_NAMES
from tfds_risbench.risbench_dataset_builder import Builder

__all__ = ["CLASS_NAMES", "Builder"]
