"""One evaluation step: a pure function, mapped over devices by the caller."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from rrsis_jax.data.geometry import Geometry
from rrsis_jax.distributed import parallel
from rrsis_jax.evaluation import metrics, test_time_augmentation
from rrsis_jax.models.layers.images import normalize
from rrsis_jax.types import Batch, Variables


def eval_step(
    variables: Variables, batch: Batch, *, model: nn.Module, views: Sequence[Geometry] = ()
) -> dict[str, jax.Array]:
    """Predicts a device's share and counts pixels, for the global batch.

    Args:
      variables: replicated `params` and `batch_stats`.
      batch: the device's share, see `types.Batch`.
      model: a `ReferringSegmenter`.
      views: of test-time averaging, see `test_time_augmentation`; none for the plain answer.

    Returns:
      int32 (B,) over the global batch: `index`, `intersection`, `union`; and of this device's
      share alone `prediction`, uint8 (b, H, W), and `margin`, float32 (b, H, W), by how much the
      target's logit exceeds the background's.
    """

    def log_odds(image: jax.Array, input_ids: jax.Array, attention_mask: jax.Array) -> jax.Array:
        logits = model.apply(variables, image, input_ids, attention_mask)
        return logits[..., 1] - logits[..., 0]

    image = normalize(batch["image"])
    if views:
        margin = test_time_augmentation.averaged_log_odds(log_odds, image, batch, views)
    else:
        margin = log_odds(image, batch["input_ids"], batch["attention_mask"])
    prediction = (margin > 0).astype(jnp.uint8)
    intersection, union = metrics.intersection_and_union(prediction, batch["mask"])
    counts = {"index": batch["index"], "intersection": intersection, "union": union}
    return {**parallel.gather_samples(counts), "prediction": prediction, "margin": margin}
