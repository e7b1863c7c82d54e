"""RSRefSeg 2 as its authors train it, on RefSegRS at 1024×1024.

  python main.py --config=configs/rsrefseg2_refsegrs.py --workdir=runs/rsrefseg2 \
    --config.data.folder=/data/RefSegRS

Network, loss, schedule and optimiser are the authors'; eight samples a step are their one device.
The checkpoint is chosen on validation, where the authors choose it on the test split. Nobody has
run this configuration yet.
"""

import ml_collections

from rrsis_jax.configs import default


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = default.get_config("rsrefseg2")
    config.data.image_size = 1024
    config.data.foreground = "nonzero"
    config.data.ground_sampling_distance = 0.13 * 512 / 1024  # of the stored images, resized
    config.model.dtype = "bfloat16"
    config.model.remat = True  # the encoders' activations would fill most devices

    config.optim.learning_rate = 2e-4
    config.optim.schedule = "cosine"
    config.optim.hold = 0.1
    config.optim.half_period = 1.8  # the run ends before the rate is at its floor
    config.optim.floor = 0.01
    config.optim.warmup_steps = 1355  # five epochs of 2,172 samples
    config.optim.warmup_start = 0.01
    config.optim.weight_decay = 0.05
    config.optim.clip_norm = 3.0
    config.train.epochs = 600.0
    config.train.eval_every_epochs = 10.0
    config.eval.batch_size = 8
    return config
