"""Near-duplicate images: a difference hash to find candidates, correlation to confirm them.

The hash (Krawetz's dHash) keeps the sign of the brightness gradient of a 9×8 thumbnail. It survives
compression, small noise, brightness, contrast and rescaling; it does not see crops, shifts, turns
or mirrored copies.
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image

MAX_DISTANCE = 10  # of 64 bits; two unrelated images differ in about half of them
MIN_CORRELATION = 0.95  # of 32×32 thumbnails
_THUMBNAIL = (32, 32)


def fingerprint(image: np.ndarray) -> tuple[np.uint64, np.ndarray]:
    """Returns what near duplicates share.

    Args:
      image: uint8 (height, width, 3).

    Returns:
      The 64-bit hash, and the thumbnail as float32 (1024,) of mean 0 and norm 1 (or all 0, if
      the image has one colour).
    """
    grey = Image.fromarray(image).convert("L")
    small = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), np.int16)
    bits = (small[:, 1:] > small[:, :-1]).ravel()
    thumbnail = np.asarray(grey.resize(_THUMBNAIL, Image.Resampling.BOX), np.float32).ravel()
    thumbnail = thumbnail - thumbnail.mean()
    norm = np.linalg.norm(thumbnail)
    return np.packbits(bits).view(np.uint64)[0], thumbnail / norm if norm else thumbnail


def near_pairs(hashes: np.ndarray, thumbnails: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yields the pairs i < j of near-duplicate images.

    Args:
      hashes: uint64 (n,).
      thumbnails: float32 (n, 1024), see `fingerprint`.
    """
    for i in range(len(hashes) - 1):
        distances = np.bitwise_count(hashes[i + 1 :] ^ hashes[i])
        for j in np.flatnonzero(distances <= MAX_DISTANCE) + i + 1:
            if thumbnails[i] @ thumbnails[j] >= MIN_CORRELATION:
                yield i, int(j)
