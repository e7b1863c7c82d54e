"""RS2-SAM2 as its authors train it, on RefSegRS at 1024×1024.

  python main.py --config=configs/rs2sam2_refsegrs.py --workdir=runs/rs2sam2 \
    --config.model.beit3.pretrained=/weights/beit3_large_patch16_224.pth

BEiT-3's vocabulary, beit3.spm, lies beside its weights; those of SAM 2 come from the hub. A batch
of eight, as on the paper's eight devices. The encoders' layers are recomputed in the backward pass,
which is slower and takes less memory, and equal ones compiled once. Nobody has run this yet.
"""

import ml_collections

from rrsis_jax.configs import default


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = default.get_config("rs2sam2")
    config.data.image_size = 1024
    config.data.ground_sampling_distance = 0.13 * 512 / 1024  # of the stored images, resized
    config.model.remat = config.model.scan = True
    config.optim.learning_rate = 5e-5
    config.optim.schedule = "drop"
    config.optim.hold = 50 / 60
    config.optim.floor = 0.1
    config.train.epochs = 60.0
    config.eval.batch_size = 8
    return config
