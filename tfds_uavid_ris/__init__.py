"""The TFDS dataset `uavid_ris`: UAVid-RIS, and any folder in REFER's layout.

Importing the package registers the builder:

```
import tensorflow_datasets as tfds
import tfds_uavid_ris

train = tfds.load("uavid_ris", builder_kwargs={"path": "/data/uavid_ris"}, split="train")
```
"""

from tfds_uavid_ris.categories import CLASS_NAMES
from tfds_uavid_ris.uavid_ris_dataset_builder import Builder

__all__ = ["CLASS_NAMES", "Builder"]
