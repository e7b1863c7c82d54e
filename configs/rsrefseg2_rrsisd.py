"""RSRefSeg 2 as its authors train it, on RRSIS-D at 1024×1024.

  python main.py --config=configs/rsrefseg2_rrsisd.py --workdir=runs/rsrefseg2_rrsisd \
    --config.data.folder=/data/RRSIS-D

The recipe of RefSegRS but for rate, length and period. The checkpoint is chosen on validation,
where the authors choose it on the test split. Nobody has run this configuration yet.
"""

import ml_collections

from rrsis_jax.configs import rsrefseg2_refsegrs


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = rsrefseg2_refsegrs.get_config()
    config.data.dataset = "rrsisd/official_complete"
    config.data.foreground = ""
    config.data.ground_sampling_distance = 0.0  # from 0.5 to 30 m in the dataset
    config.optim.learning_rate = 1e-4
    config.optim.half_period = 1.3
    config.optim.warmup_steps = 7610  # five epochs of 12,181 samples
    config.train.epochs = 300.0
    return config
