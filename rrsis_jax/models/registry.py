"""From the `model` section of a configuration to the network."""

from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
from flax import linen as nn

from rrsis_jax.models.backbones.bert.network import TextEncoder
from rrsis_jax.models.lavt.backbone import Backbone
from rrsis_jax.models.lavt.decoder import LavtDecoder
from rrsis_jax.models.lavt.network import ReferringSegmenter
from rrsis_jax.models.lavt.problems import DTYPES, NUM_STAGES, find_problems
from rrsis_jax.models.lgce.decoder import LgceDecoder


def build_model(
    config: ml_collections.ConfigDict, axis_name: str | None = None
) -> ReferringSegmenter:
    """Builds the network that `config.model` describes.

    Args:
      config: the `model` section of a configuration; `configs/default.py` explains its keys.
      axis_name: mapped axis that batch statistics are synchronised over in training.

    Returns:
      The module, without variables.

    Raises:
      ValueError: if values are unknown or do not fit together; the message lists all of them.
    """
    problems = find_problems(config)
    if problems:
        raise ValueError("config.model cannot be built:\n" + "\n".join(f"- {p}" for p in problems))
    types = {"dtype": DTYPES[config.dtype], "param_dtype": jnp.float32}
    vision, text = config.vision, config.text
    return ReferringSegmenter(
        backbone=Backbone(
            embed_dim=vision.embed_dim,
            depths=tuple(vision.depths),
            num_heads=tuple(vision.num_heads),
            window=vision.window_size,
            drop_path_rate=vision.drop_path_rate,
            fusion_heads=config.fusion.num_heads,
            fusion_dropout=config.fusion.dropout,
            remat=config.remat,
            scan=config.scan,
            **types,
        ),
        decoder=_build_decoder(config, axis_name=axis_name, **types),
        text_encoder=TextEncoder(
            hidden_size=text.hidden_size,
            num_hidden_layers=text.num_hidden_layers,
            num_attention_heads=text.num_attention_heads,
            intermediate_size=text.intermediate_size,
            vocab_size=text.vocab_size,
            max_position_embeddings=text.max_position_embeddings,
            dropout=text.dropout,
        ),
    )


def _build_decoder(config: ml_collections.ConfigDict, **shared: Any) -> nn.Module:
    hidden = 4 * config.vision.embed_dim
    if config.decoder == "lavt":
        return LavtDecoder(hidden, **shared)
    guide = config.guide
    return LgceDecoder(hidden, guide_over_words=guide.over_words, live_guide=guide.live, **shared)


def without_gradient(config: ml_collections.ConfigDict) -> tuple[tuple[str, ...], ...]:
    """Returns the paths of modules whose parameters reach no logit.

    They are parts of the state dict all the same. The reference's optimiser skips them, decay
    included, so they keep the values that they start with.

    Args:
      config: the `model` section of a configuration.
    """
    paths = [("backbone", f"layers_{NUM_STAGES - 1}", "gate")]  # the last trunk goes nowhere
    if config.decoder == "lgce" and not config.guide.live:
        exchange = ("fine_to_coarse", "coarse_to_fine")
        paths += [("decoder", "cross_scale", name) for name in exchange]
    return tuple(paths)


def variable_shapes(config: ml_collections.ConfigDict) -> dict:
    """Returns the tree of `jax.ShapeDtypeStruct` that `build_model(config)` initialises to.

    Args:
      config: the `model` section of a configuration.

    Returns:
      {"params", "batch_stats"}; nothing is computed or allocated.
    """
    tokens = jax.ShapeDtypeStruct((1, config.text.max_tokens), jnp.int32)
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    return jax.eval_shape(build_model(config).init, jax.random.key(0), image, tokens, tokens)
