"""Every registered model at the size of its `get_small`, and a batch for it."""

import functools
from typing import Any

import jax
import ml_collections
import numpy as np
import optax

from rrsis_jax.configs import default
from rrsis_jax.distributed import parallel
from rrsis_jax.models import registry
from rrsis_jax.models.contract import Model
from rrsis_jax.training import optim, train_state, train_step
from rrsis_jax.types import Batch
from tests.conftest import PHRASES, random_variables

SIDE = 32
BATCH = 4


def small_config(name: str) -> ml_collections.ConfigDict:
    """The smallest configuration of a model."""
    config = default.get_config(name)
    sections = registry.small(name)
    with config.unlocked():
        config.data.image_size = SIDE
        config.model, config.loss = sections.model, sections.loss
        config.optim.groups = sections.groups
    return config


def make_batch(model: Model) -> Batch:
    """Random images and targets, tokenized phrases."""
    rng = np.random.default_rng(0)
    tokenizer = model.tokenizer("", PHRASES)
    inputs = model.inputs()
    phrases = [tokenizer(PHRASES[i % len(PHRASES)]) for i in range(BATCH)]
    side = inputs.target_size
    return {
        "images": {
            name: rng.integers(0, 256, (BATCH, image.size, image.size, 3)).astype(np.uint8)
            for name, image in inputs.images.items()
        },
        "text": jax.tree.map(lambda *words: np.stack(words), *phrases),
        "target": (rng.random((BATCH, side, side)) < 0.3).astype(np.uint8),
        "index": np.arange(BATCH, dtype=np.int32),
    }


def still_config(name: str) -> ml_collections.ConfigDict:
    """The smallest configuration in float64, without dropout: its masks depend on the devices."""
    config = small_config(name)
    config.model.dtype = "float64"
    for key in registry.rules(name):
        if "drop" in key:
            config.update_from_flattened_dict({key: 0.0})
    return config


class Step:
    """A compiled step of plain gradient descent on some devices, in float64."""

    def __init__(self, model: Model, devices: int):
        self.model, self.devices = model, jax.devices()[:devices]
        variables = jax.tree.map(lambda x: x.astype(np.float64), random_variables(model))
        key = jax.random.PRNGKey(0)
        self.state = train_state.create_state(variables, optax.sgd(1.0), model, key)
        self.program: Any = parallel.mapped(
            functools.partial(train_step.train_step, model=model, optimizer=optax.sgd(1.0)),
            devices=self.devices,
        )

    def __call__(self, batch: Batch) -> tuple[Any, Any, Any]:
        """Returns loss and gradient norm, gradients, and batch statistics, as numpy arrays."""
        after, scalars = self.program(
            parallel.replicate(self.state, self.devices), parallel.shard(batch, self.devices)
        )
        after, scalars = jax.tree.map(lambda x: np.asarray(x[0]), (after, scalars))
        first, _ = optim.split_frozen(self.state.params, self.model)
        trained, _ = optim.split_frozen(after.params, self.model)
        assert scalars.pop("finite")
        return scalars, jax.tree.map(np.subtract, first, trained), after.batch_stats
