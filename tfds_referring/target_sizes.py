"""Classes of target sizes: which share of the image the mask covers."""

import bisect

_EDGES = (0.005, 0.02, 0.1)

SIZES = ("empty", "under 0.5 %", "0.5 to 2 %", "2 to 10 %", "10 % and more")
"""What `size_of` returns, from small to large."""


def size_of(share: float) -> str:
    """Returns the size class of a target.

    Args:
      share: foreground pixels over all pixels of the mask, in [0, 1].

    Returns:
      One of `SIZES`; a share on an edge belongs to the larger class.
    """
    return SIZES[0] if share == 0 else SIZES[1 + bisect.bisect_right(_EDGES, share)]
