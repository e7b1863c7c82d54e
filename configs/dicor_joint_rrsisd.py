"""DiCoR's joint stage with the data of `dicor_coarse_rrsisd`; see `dicor_joint_refsegrs`."""

import ml_collections

from rrsis_jax.configs import dicor_coarse_rrsisd, dicor_joint_refsegrs


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    return dicor_coarse_rrsisd.on_rrsisd(dicor_joint_refsegrs.get_config())
