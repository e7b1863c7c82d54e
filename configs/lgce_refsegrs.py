"""The paper's recipe of LGCE: Swin-B window 12 and bert-base-uncased on RefSegRS at 480×480."""

import ml_collections

from rrsis_jax.configs import default


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = default.get_config()
    config.model.decoder = "lgce"
    return config
