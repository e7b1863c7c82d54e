"""Which values of a configuration LAVT's family cannot be built with."""

import jax.numpy as jnp
import ml_collections

from rrsis_jax.models.lgce.decoder import CrossScaleBlock

DECODERS = ("lavt", "lgce")
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
NUM_STAGES = 4


def find_problems(config: ml_collections.ConfigDict) -> list[str]:
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
