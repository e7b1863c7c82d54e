"""The smallest run that has all parts, as a configuration file and for the tests' fixtures."""

import ml_collections

from rrsis_jax.configs import default
from rrsis_jax.models import registry


def get_config(model: str = "lgce") -> ml_collections.ConfigDict:
    """Returns the configuration of a model at its small size; it names no dataset."""
    config = default.get_config(model)
    sections = registry.small(model)
    config.model, config.loss, config.optim.groups = sections.model, sections.loss, sections.groups
    config.data.image_size = 32
    config.data.num_threads = 2
    config.optim.learning_rate = 1e-3
    config.train.batch_size = 4
    config.eval.batch_size = 4
    return config.lock()
