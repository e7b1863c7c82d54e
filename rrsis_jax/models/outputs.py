"""What a network says of each pair of image and phrase."""

from collections.abc import Mapping
from typing import Any

import flax.struct
import jax


@flax.struct.dataclass
class Outputs:
    """What a network says of each (image, phrase) pair.

    Attributes:
      log_odds: float32 or wider (B, S, S); a pixel is in the mask where it is above 0.
      presence: (B,), log-odds that the phrase names anything; None where the network has no say.
      aux: what losses and recorded outputs read, by name.
    """

    log_odds: jax.Array
    presence: jax.Array | None = None
    aux: Mapping[str, Any] = flax.struct.field(default_factory=dict)
