"""The whole network, wired: text encoder + language-aware encoder + decoder → logits."""

from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
from flax import linen as nn

from rrsis_jax.models.backbone import Backbone
from rrsis_jax.models.decoders import CrossScaleBlock, LavtDecoder, LgceDecoder
from rrsis_jax.models.layers import resize_aligned
from rrsis_jax.models.text import TextEncoder

DECODERS = ("lavt", "lgce")
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
NUM_STAGES = 4


class ReferringSegmenter(nn.Module):
    """Segments what a phrase refers to (LGCE, Yuan et al., TGRS 2024; LAVT is the baseline).

    Variables without text weights serve the methods that take text features.

    Attributes:
      backbone: language-aware image encoder.
      decoder: from stage outputs and text features to coarse logits.
      text_encoder: from token ids to text features.
    """

    backbone: nn.Module
    decoder: nn.Module
    text_encoder: nn.Module

    def __call__(
        self,
        image: jax.Array,
        input_ids: jax.Array,
        attention_mask: jax.Array,
        train: bool = False,
    ) -> jax.Array:
        """Segments an image by a tokenized phrase.

        Args:
          image: normalised (B, H, W, 3), of any size.
          input_ids: int (B, N), padded with 0.
          attention_mask: (B, N), 1 on real tokens.
          train: whether dropout and DropPath act (collection "dropout") and batch statistics
            are taken from the batch (mutable collection "batch_stats").

        Returns:
          float32 logits (B, H, W, 2).
        """
        text_features = self.encode_text(input_ids, attention_mask, train)
        return self.segment(image, text_features, attention_mask, train)

    def encode_text(
        self, input_ids: jax.Array, attention_mask: jax.Array, train: bool = False
    ) -> jax.Array:
        """Encodes token ids (B, N) to float32 text features (B, N, D)."""
        return self.text_encoder(input_ids, attention_mask, train)

    def encode_image(
        self,
        image: jax.Array,
        text_features: jax.Array,
        attention_mask: jax.Array,
        train: bool = False,
    ) -> tuple[jax.Array, ...]:
        """Encodes an image (B, H, W, 3) with its phrase to four maps (B, h, w, C), fine first."""
        return self.backbone(image, text_features, attention_mask, train)

    def decode(
        self,
        features: tuple[jax.Array, ...],
        text_features: jax.Array,
        attention_mask: jax.Array,
        train: bool = False,
    ) -> jax.Array:
        """Decodes the four maps to float32 logits (B, h, w, 2) at stride 4."""
        return self.decoder(features, text_features, attention_mask, train)

    def segment(
        self,
        image: jax.Array,
        text_features: jax.Array,
        attention_mask: jax.Array,
        train: bool = False,
    ) -> jax.Array:
        """Segments an image by text features (B, N, D); see `__call__` for the rest."""
        features = self.encode_image(image, text_features, attention_mask, train)
        coarse = self.decode(features, text_features, attention_mask, train)
        return resize_aligned(coarse, *image.shape[1:3])


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
    problems = _problems(config)
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
            live_gates=config.fusion.live_gates,
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


def _problems(config: ml_collections.ConfigDict) -> list[str]:
    """Returns one sentence for each value that does not fit."""
    vision, text, fusion = config.vision, config.text, config.fusion
    problems = []
    for key, value, known in (
        ("decoder", config.decoder, DECODERS),
        ("dtype", config.dtype, DTYPES),
    ):
        if value not in known:
            problems.append(f"{key} is {value!r}; choose one of {sorted(known)}")
    lengths = {"depths": len(vision.depths), "num_heads": len(vision.num_heads)}
    for key, length in lengths.items():
        if length != NUM_STAGES:
            problems.append(
                f"vision.{key} has {length} entries; give one for each of {NUM_STAGES} stages"
            )
    for key, value in (
        ("vision.embed_dim", vision.embed_dim),
        ("vision.window_size", vision.window_size),
        ("text.num_hidden_layers", text.num_hidden_layers),
        *((f"vision.depths[{i}]", depth) for i, depth in enumerate(vision.depths)),
    ):
        if value < 1:
            problems.append(f"{key} is {value}; it must be at least 1")
    widths = [vision.embed_dim * 2**stage for stage in range(NUM_STAGES)]
    heads = [
        *(
            (f"vision.num_heads[{i}]", h, w)
            for i, (h, w) in enumerate(zip(vision.num_heads, widths, strict=False))
        ),
        *(("fusion.num_heads", fusion.num_heads, width) for width in widths[:1]),
        ("text.num_attention_heads", text.num_attention_heads, text.hidden_size),
    ]
    if config.decoder == "lgce":
        fine, coarse = CrossScaleBlock.num_heads
        heads += [("the cross-scale block's heads at stage 3", fine, widths[2])]
        heads += [("the cross-scale block's heads at stage 4", coarse, widths[3])]
    for key, count, width in heads:
        if count < 1 or width % count:
            problems.append(f"{key} is {count}; it must divide the width {width}")
    for key, rate in (
        ("vision.drop_path_rate", vision.drop_path_rate),
        ("fusion.dropout", fusion.dropout),
        ("text.dropout", text.dropout),
    ):
        if not 0.0 <= rate < 1.0:
            problems.append(f"{key} is {rate}; it must be in [0, 1)")
    if not 1 <= text.max_tokens <= text.max_position_embeddings:
        problems.append(
            f"text.max_tokens is {text.max_tokens}; it must be between 1 and "
            f"text.max_position_embeddings ({text.max_position_embeddings})"
        )
    return problems
