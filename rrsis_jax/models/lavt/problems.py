"""Which values of a configuration LAVT's family cannot be built with."""

import ml_collections

from rrsis_jax.models.layers.precision import dtype_problems

NUM_STAGES = 4


def find_problems(config: ml_collections.ConfigDict) -> list[str]:
    """Returns one sentence for each value that does not fit the others.

    Args:
      config: the `model` section of a configuration.
    """
    vision, text, fusion = config.vision, config.text, config.fusion
    problems = dtype_problems(config.dtype)
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


def image_size_problems(size: int, stride: int) -> list[str]:
    """Returns a sentence if the maps of a square image do not double from stage to stage.

    Args:
      size: side of the image in pixels.
      stride: pixels a position of the coarsest map.
    """
    if size % stride == 0:
        return []
    below = size // stride * stride
    fitting = " or ".join(str(near) for near in (below, below + stride) if near)
    return [
        f"data.image_size is {size}; it must be a multiple of {stride}, so that maps double from "
        f"stage to stage: {fitting} fits"
    ]
