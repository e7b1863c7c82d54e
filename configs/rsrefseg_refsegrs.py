"""RSRefSeg-b as its authors train it, on RefSegRS at 1024×1024.

  python main.py --config=configs/rsrefseg_refsegrs.py --workdir=runs/rsrefseg

fetches SAM ViT-B and SigLIP so400m from the Hugging Face hub. Loss, adapters, groups and schedule
are the authors'; the batch is the paper's 32, over eight devices there.
"""

import ml_collections

from rrsis_jax.configs import default

STEPS_AN_EPOCH = 2172 / 32  # training triplets of RefSegRS, batch


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = default.get_config("rsrefseg")
    config.data.image_size = 1024
    config.data.ground_sampling_distance = 0.13 * 512 / 1024  # of the stored images, resized
    config.model.dtype = "bfloat16"  # the authors' is float16 with a loss scale
    config.model.remat = True
    config.optim.learning_rate = 1e-4
    config.optim.weight_decay = 0.05
    config.optim.schedule = "cosine"
    config.optim.floor = 0.001
    config.optim.warmup_steps = round(5 * STEPS_AN_EPOCH)
    config.optim.warmup_start = 0.01
    config.train.batch_size = 32
    config.train.epochs = 200.0
    config.train.eval_every_epochs = 5.0
    return config
