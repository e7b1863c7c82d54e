"""COCO's run-length encoding of masks, compressed and not, with every claim of the text checked.

A mask is written column by column as lengths of runs, of background first. The compressed form
packs each length, from the fourth on its difference to the one before last, into groups of five
bits plus 48 (cocoapi, maskApi.c, `rleToString`). pycocotools decodes damaged text without a word;
here the runs have to fill the mask exactly.
"""

import ast
import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np

MAX_PIXELS = 89_478_485  # of a mask; Pillow's own limit on images
_MAX_GROUPS = 7  # of one length: 35 bits are more than any mask has pixels
_MAX_LITERAL = 10_000_000  # characters


class SegmentationError(ValueError):
    """A mask that cannot be read; the message says why."""


def decode(rle: Mapping[str, Any], shape: tuple[int, int]) -> np.ndarray:
    """Returns the mask of a run-length encoding.

    Args:
      rle: `size`, [height, width], and `counts`: a list of lengths or compressed text or bytes.
      shape: (height, width) that the mask must have.

    Returns:
      bool (height, width).

    Raises:
      SegmentationError: the encoding is damaged, or is of another size.
    """
    if set(rle) - {"size", "counts"} or len(rle) != 2:
        raise SegmentationError(
            f"has a run-length encoding with the keys {_shown(sorted(map(str, rle)))}; "
            "expected size and counts"
        )
    size = rle["size"]
    if not isinstance(size, list | tuple) or list(size) != list(shape):
        raise SegmentationError(
            f"has a run-length encoding of size {_shown(size)}, but its image is "
            f"[{shape[0]}, {shape[1]}] (height, width)"
        )
    pixels = shape[0] * shape[1]
    if not 0 < pixels <= MAX_PIXELS:
        raise SegmentationError(f"has {pixels} pixels; expected 1 to {MAX_PIXELS}")
    runs = _runs(rle["counts"], pixels)
    if runs.sum() != pixels:
        raise SegmentationError(f"has runs over {runs.sum()} pixels, but its image has {pixels}")
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(values.reshape(shape[::-1]).T)


def from_literal(text: str) -> Any:
    """Returns what a segmentation written as a Python literal means, as Aerial-D's files hold it.

    Nothing is run: names, calls and operators are refused.

    Args:
      text: such as "{'size': [480, 480], 'counts': '…'}".

    Raises:
      SegmentationError: the text is no literal.
    """
    if len(text) > _MAX_LITERAL:
        raise SegmentationError(f"has a segmentation of {len(text)} characters; that is too long")
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise SegmentationError(
            f"has the segmentation {_shown(text)}, which is no plain Python literal"
        ) from error


def _runs(counts: Any, pixels: int) -> np.ndarray:
    """Returns the lengths, int64 (n,), each from 0 to `pixels`."""
    if isinstance(counts, str):
        try:
            counts = counts.encode("ascii")
        except UnicodeEncodeError as error:
            raise SegmentationError("has counts that are not ASCII text") from error
    if isinstance(counts, bytes):
        runs = _unpacked(np.frombuffer(counts, np.uint8).astype(np.int64) - 48)
    elif isinstance(counts, list) and all(type(x) is int for x in counts):
        if not all(0 <= x <= pixels for x in counts):
            raise SegmentationError(f"has a run below 0 or above its {pixels} pixels")
        runs = np.array(counts, np.int64)
    else:
        raise SegmentationError(
            f"has counts of type {type(counts).__name__}; expected text or whole numbers"
        )
    if len(runs) and (runs.min() < 0 or runs.max() > pixels):
        raise SegmentationError(f"has a run below 0 or above its {pixels} pixels")
    return runs


def _unpacked(groups: np.ndarray) -> np.ndarray:
    """Returns the lengths that groups of six bits stand for: 32 goes on, 16 in the last is sign."""
    if not len(groups):
        return groups
    if groups.min() < 0 or groups.max() > 63 or groups[-1] & 32:
        raise SegmentationError("has counts that are no run-length text, or cut off")
    ends = np.flatnonzero(groups & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _MAX_GROUPS:
        raise SegmentationError("has a run of more than 35 bits")
    place = np.arange(len(groups)) - np.repeat(starts, lengths)
    values = np.add.reduceat((groups & 31) << (5 * place), starts)
    values -= (groups[ends] & 16 > 0) * (1 << (5 * lengths))
    # The first three are lengths; each later one adds to the one before last.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _shown(value: Any) -> str:
    return reprlib.repr(value)
