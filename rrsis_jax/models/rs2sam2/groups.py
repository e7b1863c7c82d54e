"""Which parameters are trained, and at which of two rates."""

from rrsis_jax.models.contract import Path

ADAPTERS = frozenset({"space_adapter", "mlp_adapter"})
# The mask prompt, and the attention that multiplies SAM 2's embedding.
_FAST = frozenset({"mask_token", "mask_linear", "mask_product", "word_attention"})
# No gradient reaches prompts that are not given, and the heads that judge a mask. The matrix of
# positions is a buffer in the published code.
_WITHOUT_GRADIENT = {
    ("sam2", "positions", "matrix"),
    *(("sam2", "prompt_encoder", name) for name in ("not_a_point", "no_mask")),
    *(("sam2", "prompt_encoder", f"label_{label}") for label in range(4)),
    *(("sam2", "mask_decoder", name) for name in ("iou_head", "object_head")),
}


def is_encoder(path: Path) -> bool:
    """Returns whether a parameter is SAM 2's image encoder's own: trunk and pyramid."""
    return path[:2] in {("sam2", "trunk"), ("sam2", "neck")} and not is_adapter(path)


def is_adapter(path: Path) -> bool:
    """Returns whether a parameter is an adapter's."""
    return not ADAPTERS.isdisjoint(path)


def is_fast(path: Path) -> bool:
    """Returns whether the paper trains the parameter at `path` at the higher of its rates."""
    return path[0] in _FAST or is_adapter(path)


def has_no_gradient(path: Path, num_blocks: int) -> bool:
    """Returns whether training cannot change the parameter at `path`.

    Args:
      path: below "params".
      num_blocks: of SAM 2's trunk. No block reads what the last one writes into the words.
    """
    adapter = ("sam2", "trunk", f"blocks_{num_blocks - 1}", "space_adapter")
    return path[:3] in _WITHOUT_GRADIENT or path[:5] in {
        (*adapter, "text_reads"),
        (*adapter, "text_out"),
    }
