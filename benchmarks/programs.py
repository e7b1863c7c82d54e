"""The programs that are measured: forward pass and training step, without data or TensorFlow."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from rrsis_jax.models import registry
from rrsis_jax.training import optim, train_state, train_step

TOTAL_STEPS = 100_000  # of the learning-rate schedule, beyond any warm-up; without effect on speed
SMALL_VOCABULARY = 30  # token ids that every text encoder has


def make_variables(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Returns variables of the model's shapes; small random weights, unit scales and variances."""
    rng = np.random.default_rng(0)

    def fill(path: tuple, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if path[-1].key in ("scale", "var"):
            return np.ones(leaf.shape, leaf.dtype)
        return 0.02 * rng.standard_normal(leaf.shape, dtype=np.float32)

    return jax.tree_util.tree_map_with_path(fill, registry.build(config).shapes())


def make_batch(config: ml_collections.ConfigDict, batch: int) -> dict[str, Any]:
    """Returns a random batch of samples as the input pipeline would deliver it, see `types.Batch`.

    Args:
      config: whose model reads it.
      batch: samples.
    """
    rng = np.random.default_rng(1)
    model = registry.build(config)
    inputs, text = model.inputs(), model.text_shapes()
    positions = text["input_ids"].shape[1]
    lengths = rng.integers(3, positions + 1, (batch, 1))
    mask = (np.arange(positions)[None] < lengths).astype(np.int32)
    ids = rng.integers(5, SMALL_VOCABULARY, mask.shape).astype(np.int32) * mask
    arrays = {
        name: rng.integers(0, 256, (batch, *row.shape)).astype(row.dtype)
        for name, row in inputs.arrays.items()
    }
    return {
        "images": {
            name: rng.integers(0, 256, (batch, image.size, image.size, 3), np.uint8)
            for name, image in inputs.images.items()
        },
        "target": rng.integers(0, 2, (batch, *2 * (inputs.target_size,))).astype(np.uint8),
        "text": {name: ids if name == "input_ids" else mask for name in text},
        "index": np.arange(batch, dtype=np.int32),
        **({"arrays": arrays} if arrays else {}),
    }


def make_forward(config: ml_collections.ConfigDict, phrases: int = 1) -> jax.stages.Wrapped:
    """Returns the jitted forward pass: variables and a batch to float32 log-odds (B · P, H, W).

    Args:
      config: of the network.
      phrases: P, for each image, which is encoded once; all are the batch's one.
    """
    model = registry.build(config)
    network: Any = model.network()

    def several(tree: Any) -> Any:
        return jax.tree.map(lambda x: jnp.repeat(x, phrases, axis=0), tree)

    def forward(variables: dict[str, Any], batch: dict[str, Any]) -> jax.Array:
        if phrases == 1:
            return model.outputs(variables, batch["images"], batch["text"]).log_odds
        image = network.apply(variables, batch["images"], method="encode_image")
        text = network.apply(variables, several(batch["text"]), method="encode_text")
        return network.apply(variables, several(image), text, method="segment").log_odds

    return jax.jit(forward)


def make_training(config: ml_collections.ConfigDict) -> tuple[jax.stages.Wrapped, Callable]:
    """Returns the mapped training step, and the function that makes its state from variables."""
    model = registry.build(config)
    schedule = optim.build_schedule(config.optim, TOTAL_STEPS)
    optimizer = optim.build_optimizer(config.optim, schedule, model)

    def make_state(variables: dict[str, Any]) -> train_state.TrainState:
        return train_state.create_state(
            variables, optimizer, model, jax.random.PRNGKey(0), config.optim.ema_decay > 0
        )

    return train_step.make_train_fn(config, model, optimizer), make_state


def counted_flops(program: jax.stages.Compiled | jax.stages.Lowered) -> float:
    """Returns the floating-point operations that XLA counts; NaN where a backend does not."""
    return (program.cost_analysis() or {}).get("flops", math.nan)


def replicated_shapes(tree: Any, devices: int = 1) -> Any:
    """Returns the shapes of a tree with one copy per device, to compile without arrays."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((devices, *x.shape), x.dtype), tree)
