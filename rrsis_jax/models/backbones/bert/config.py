"""The section `model.text` of models with a BERT text encoder."""

from collections.abc import Mapping

import ml_collections

from rrsis_jax import validators
from rrsis_jax.validators import Rule


def get_config() -> ml_collections.ConfigDict:
    """Returns bert-base-uncased, of which the paper optimises ten layers."""
    config = ml_collections.ConfigDict()
    config.pretrained = "bert-base-uncased"  # hub name or folder; "" from scratch
    config.hidden_size = 768
    config.num_hidden_layers = 12
    config.num_attention_heads = 12
    config.intermediate_size = 3072
    config.vocab_size = 30522
    config.max_position_embeddings = 512  # rows of the position table
    config.dropout = 0.1  # of hidden states
    config.max_tokens = 20  # word positions; longer phrases are cut
    config.trained_layers = 10  # the first k encoder layers are optimised
    config.trained_embeddings = False  # whether the embeddings are optimised too
    return config


def get_small() -> ml_collections.ConfigDict:
    """Returns a BERT that compiles in seconds and trains from scratch."""
    config = get_config()
    config.pretrained = ""
    config.hidden_size = 32
    config.num_hidden_layers = 1
    config.num_attention_heads = 2
    config.intermediate_size = 32
    config.vocab_size = 256
    config.max_position_embeddings = 32
    config.max_tokens = 12
    config.trained_layers = 1
    config.trained_embeddings = True
    return config


RULES: Mapping[str, Rule] = {
    "model.text.pretrained": validators.TEXT,
    "model.text.hidden_size": validators.COUNT,
    "model.text.num_hidden_layers": validators.COUNT,
    "model.text.num_attention_heads": validators.COUNT,
    "model.text.intermediate_size": validators.COUNT,
    "model.text.vocab_size": validators.COUNT,
    "model.text.max_position_embeddings": validators.COUNT,
    "model.text.dropout": validators.RATE,
    "model.text.max_tokens": validators.COUNT,
    "model.text.trained_layers": validators.MANY,
    "model.text.trained_embeddings": validators.FLAG,
}
