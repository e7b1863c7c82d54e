"""The smallest run that has all parts, as a configuration file and for the tests' fixtures."""

import ml_collections

from rrsis_jax.configs import default


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration; it names no dataset."""
    config = default.get_config()
    config.data.image_size = 32
    config.data.num_threads = 2
    config.model.vision.embed_dim = 16
    config.model.vision.depths = (1, 1, 1, 1)
    config.model.vision.num_heads = (1, 2, 4, 8)
    config.model.vision.window_size = 4
    config.model.text.pretrained = ""
    config.model.text.hidden_size = 32
    config.model.text.num_hidden_layers = 1
    config.model.text.num_attention_heads = 2
    config.model.text.intermediate_size = 32
    config.model.text.vocab_size = 256
    config.model.text.max_position_embeddings = 32
    config.model.text.max_tokens = 12
    config.model.text.trained_layers = 1
    config.model.text.trained_embeddings = True
    config.optim.learning_rate = 1e-3
    config.train.batch_size = 4
    config.eval.batch_size = 4
    return config
