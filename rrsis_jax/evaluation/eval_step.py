"""One evaluation step: a pure function, mapped over devices by the caller."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from rrsis_jax.data.geometry import Geometry
from rrsis_jax.distributed import parallel
from rrsis_jax.evaluation import metrics, test_time_augmentation
from rrsis_jax.models.contract import Model, Tree
from rrsis_jax.types import Batch, Variables


def eval_step(
    variables: Variables, batch: Batch, *, model: Model, views: Sequence[Geometry] = ()
) -> dict[str, jax.Array]:
    """Predicts a device's share and counts pixels, for the global batch.

    Args:
      variables: replicated `params` and `batch_stats`.
      batch: the device's share, see `types.Batch`.
      model: what predicts.
      views: of test-time averaging, see `test_time_augmentation`; none for the plain answer.

    Returns:
      int32 (B,) over the global batch: `index`, `intersection`, `union`; and of this device's
      share alone `prediction`, uint8 (b, S, S), and `log_odds`, float32 (b, S, S).
    """

    def answer(images: Tree, text: Tree) -> jax.Array:
        return model.outputs(variables, images, text).answer()

    if views:
        log_odds = test_time_augmentation.averaged_log_odds(
            answer, batch["images"], batch["views"], views
        )
    else:
        log_odds = answer(batch["images"], batch["text"])
    prediction = (log_odds > 0).astype(jnp.uint8)
    intersection, union = metrics.intersection_and_union(prediction, batch["target"])
    counts = {"index": batch["index"], "intersection": intersection, "union": union}
    return {**parallel.gather_samples(counts), "prediction": prediction, "log_odds": log_odds}
