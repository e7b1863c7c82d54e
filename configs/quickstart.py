"""A small LGCE on the embedded synthetic scenes: minutes on two CPU cores, no download."""

import ml_collections

from configs import default


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = default.get_config()
    config.data.dataset = "refsegrs/synthetic"
    config.data.image_size = 128
    config.data.num_threads = 2

    config.model.vision.embed_dim = 16
    config.model.vision.depths = (2, 2, 4, 2)
    config.model.vision.num_heads = (1, 2, 4, 8)
    config.model.vision.window_size = 8
    config.model.vision.drop_path_rate = 0.0

    config.model.text.pretrained = ""
    config.model.text.hidden_size = 128
    config.model.text.num_hidden_layers = 2
    config.model.text.num_attention_heads = 4
    config.model.text.intermediate_size = 256
    config.model.text.vocab_size = 256
    config.model.text.dropout = 0.0
    config.model.text.trained_layers = 2
    config.model.text.trained_embeddings = True

    config.loss.dice_weight = 1.0
    config.optim.learning_rate = 1e-3
    config.optim.clip_norm = 1.0
    config.optim.warmup_steps = 50
    config.train.batch_size = 8
    config.train.epochs = 10.0
    config.train.eval_every_epochs = 2.0
    return config
