"""The TFDS dataset `vdd_ris`: VDD-RIS, and any folder in REFER's layout.

Importing the package registers the builder:

```
import tensorflow_datasets as tfds
import tfds_vdd_ris

train = tfds.load("vdd_ris", builder_kwargs={"path": "/data/vdd_ris"}, split="train")
```
"""

from tfds_vdd_ris.categories import CLASS_NAMES
from tfds_vdd_ris.vdd_ris_dataset_builder import Builder

__all__ = ["CLASS_NAMES", "Builder"]
