"""Everything that changes from one training step to the next."""

import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from rrsis_jax.models.contract import Model
from rrsis_jax.training import optim
from rrsis_jax.types import Params, Variables
from rrsis_jax.weights import trees


@flax.struct.dataclass
class TrainState:
    """The state of training; a checkpoint of it is all that an exact resume needs.

    The position in the data and the dropout keys follow from `step` (and the seed), so there is
    no iterator to save.

    Attributes:
      step: int32 scalar, the number of finished steps.
      params: nested dictionary of float32 arrays.
      batch_stats: running BatchNorm statistics, float32.
      opt_state: the optimiser's state of the trained parameters.
      ema: exponential averages of the trained params, or an empty dictionary if averaging is off.
      rng: the key from which every step derives its dropout keys; never changes.
    """

    step: jax.Array
    params: Params
    batch_stats: Params
    opt_state: Any
    ema: Params
    rng: jax.Array

    def eval_variables(self) -> Variables:
        """Returns the variables to evaluate with: averaged parameters where there are any."""
        params = trees.join(self.params, self.ema)
        return {"params": params, "batch_stats": self.batch_stats}

    def without_frozen(self, model: Model) -> "TrainState":
        """Returns what training changes: the state with the trained parameters only."""
        trained, _ = optim.split_frozen(self.params, model)
        return dataclasses.replace(self, params=trained)


def create_state(
    variables: Variables,
    optimizer: optax.GradientTransformation,
    model: Model,
    rng: jax.Array,
    keep_ema: bool = False,
) -> TrainState:
    """Returns the state before the first step.

    Args:
      variables: `params`, and `batch_stats` where the network has any.
      optimizer: made by `optim.build_optimizer`; it gets a state for the trained parameters only.
      model: says which parameters are optimised.
      rng: the key of all dropout.
      keep_ema: whether to keep averages of the trained parameters, starting at their values.
    """
    trained, _ = optim.split_frozen(variables["params"], model)
    return TrainState(
        step=jnp.int32(0),
        params=variables["params"],
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(trained),
        ema=jax.tree.map(jnp.array, trained) if keep_ema else {},
        rng=rng,
    )
