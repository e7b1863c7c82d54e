"""The small LGCE on the embedded synthetic scenes: minutes on two CPU cores, no download.

  python main.py --config=configs/quickstart.py --workdir=runs/quickstart

README.md shows the table that it ends with, and how long it takes.
"""

import ml_collections

from rrsis_jax.configs import lgce_small


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = lgce_small.get_config()
    config.data.dataset = "refsegrs/synthetic"
    config.data.num_threads = 2

    config.model.vision.window_size = 8  # divides the maps of 32, 16 and 8 patches
    config.model.vision.drop_path_rate = 0.0
    config.model.text.hidden_size = 128
    config.model.text.num_attention_heads = 4
    config.model.text.vocab_size = 256
    config.model.text.dropout = 0.0

    config.loss.dice_weight = 1.0
    config.optim.learning_rate = 1e-3
    config.optim.warmup_steps = 50
    config.optim.clip_norm = 1.0
    config.train.epochs = 6.0
    config.train.eval_every_epochs = 2.0
    config.eval.num_pictures = 4
    config.distributed.cpu_devices = 2  # one a core, each with half of a batch
    return config
