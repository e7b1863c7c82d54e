"""The paper's recipe with a small LGCE at 128×128, from scratch, on a folder of one's own.

  python main.py --config=configs/lgce_small.py --workdir=runs/small --config.data.folder=FOLDER

No download and no pretrained weights: the network is small enough for a CPU, the optimisation is
the paper's but for the learning rate.
"""

import ml_collections

from rrsis_jax.configs import default


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = default.get_config("lgce")
    shrink(config)
    return config


def shrink(config: ml_collections.ConfigDict) -> None:
    """Makes any model of the family small, and its training a long one from scratch."""
    config.data.dataset = "refsegrs/folder"
    config.data.image_size = 128

    config.model.vision.embed_dim = 16
    config.model.vision.depths = (2, 2, 4, 2)
    config.model.vision.num_heads = (1, 2, 4, 8)
    config.model.vision.window_size = 7
    config.model.vision.drop_path_rate = 0.1

    config.model.text.pretrained = ""
    config.model.text.num_hidden_layers = 2
    config.model.text.intermediate_size = 256
    config.model.text.vocab_size = 512
    config.model.text.trained_layers = 2
    config.model.text.trained_embeddings = True

    config.optim.learning_rate = 5e-4
    config.train.epochs = 60.0
    config.train.eval_every_epochs = 5.0
