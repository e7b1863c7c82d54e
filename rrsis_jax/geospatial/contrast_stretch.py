"""Band values of any type to 8 bits: percentiles of each band become black and white."""

import numpy as np


def measure(values: np.ndarray, valid: np.ndarray, percentiles: tuple[float, float]) -> np.ndarray:
    """Returns the limits of each band, float64 (bands, 2).

    Args:
      values: (bands, h, w) of any real type.
      valid: bool (h, w), with at least one pixel set.
      percentiles: of the valid values, that become 0 and 255.

    Raises:
      ValueError: if the values are complex, or too large to compute with.
    """
    if values.dtype.kind == "c":
        raise ValueError(f"values are {values.dtype}, which have no place from black to white")
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = np.percentile(values[:, valid].astype(np.float64), percentiles, axis=1)
        high = np.where(high > low, high, low + np.maximum(1.0, np.spacing(np.abs(low))))
        if not np.isfinite(high - low).all():
            raise ValueError(f"values reach from {np.min(low):g} to {np.max(high):g}")
    return np.stack([low, high], axis=1)


def apply(values: np.ndarray, valid: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Returns uint8 (bands, h, w): limits become 0 and 255; 0 where pixels are not valid."""
    exact = np.result_type(values.dtype, np.float32)  # of 16 bits fit float32, of 32 need float64
    low, high = np.moveaxis(limits[..., None, None], 1, 0)
    factor = (255.0 / (high - low)).astype(exact)
    with np.errstate(over="ignore", invalid="ignore"):  # of pixels without data, and beyond limits
        scaled = (values.astype(exact) - low.astype(exact)) * factor
    return np.rint(np.clip(np.where(valid, scaled, 0.0), 0.0, 255.0)).astype(np.uint8)
