"""From a prepared TFDS dataset to batches on the device."""
