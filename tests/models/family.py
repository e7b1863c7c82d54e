"""What every model of LAVT's family is asked through the contract, at its smallest size."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import traverse_util

from rrsis_jax.configs import default
from rrsis_jax.models import published, registry
from rrsis_jax.models.contract import Model, Outputs
from rrsis_jax.weights.mapping import export_weights
from tests.models.trajectories import entropy_and_dice

SIDE = 32
UNDECAYED = ("norm", "absolute_pos_embed", "relative_position_bias_table")  # of "backbone."


def tiny(name: str) -> ml_collections.ConfigDict:
    """Returns a model's configuration at its smallest size, for images of 32×32."""
    config = default.get_config(name)
    sections = registry.small(name)
    config.model, config.loss, config.optim.groups = sections.model, sections.loss, sections.groups
    config.data.image_size = SIDE
    config.optim.learning_rate = 1e-3
    return config


def random_variables(model: Model) -> dict:
    """Returns nested variables of the model's shapes, float32, with statistics of one."""
    rng = np.random.default_rng(0)
    flat = traverse_util.flatten_dict(model.shapes())
    return traverse_util.unflatten_dict(
        {
            path: np.ones(x.shape, np.float32)
            if path[-1] in ("var", "scale")
            else rng.normal(0, 0.05, x.shape).astype(np.float32)
            for path, x in flat.items()
        }
    )


def published_name(model: Model, path: tuple[str, ...], spec: jax.ShapeDtypeStruct) -> str:
    """Returns the published name of the parameter at `path`."""
    ours = "/".join(("params", *path))
    empty = np.broadcast_to(np.float32(0), spec.shape)
    return next(iter(export_weights({ours: empty}, model.table().rules, {ours: spec})))


def assert_dead_as_recorded(model: Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Exactly those parameters are not optimised that have no gradient in the recorded training."""
    params = traverse_util.flatten_dict(model.shapes()["params"])
    frozen = {
        published_name(model, path, spec)
        for path, spec in params.items()
        if path[0] != "text_encoder" and model.param_group(path) is None
    }
    dead = set(arrays["grad_names"][arrays["grad_is_none"]])
    assert frozen == dead - model.table().inert().keys()


def assert_loss_as_recorded(model: Model, dice_batch: int) -> None:
    """The contract's terms give the loss of the recorded training, for the batch of its device."""
    rng = np.random.default_rng(2)
    target = rng.integers(0, 2, (dice_batch, 6, 6))
    log_odds = jnp.asarray(rng.normal(0, 2, target.shape), jnp.float32)
    batch = {"target": target}
    sums = model.loss_sums(Outputs(log_odds), batch, lambda x: x)
    weights = model.loss_weights(batch)
    loss = sum(f * sums[name] / weights[name] for name, f in model.loss_scales().items())
    terms = entropy_and_dice(log_odds, target)
    np.testing.assert_allclose(loss, 0.9 * terms["ce"] + 0.1 * terms["dice"], rtol=1e-6)


def assert_decay_by_published_names(model: Model) -> None:
    """What decays is what the published training decays, judged by its own names."""
    params = traverse_util.flatten_dict(model.shapes()["params"])
    for path, spec in params.items():
        group = model.param_group(path)
        if group is None:
            continue
        theirs = published_name(model, path, spec)
        spared = theirs.startswith("backbone.") and any(word in theirs for word in UNDECAYED)
        assert group.decay == float(not spared), theirs
        assert group.rate == 1.0


def assert_weights_return(model: Model) -> dict[str, np.ndarray]:
    """Exported and imported, variables are as they were; returns the published state dict.

    The published codes build their BERT, an old one without index buffer, into the network.
    """
    variables = random_variables(model)
    state_dict, _ = published.export_state_dict(variables, model)
    returned, _ = published.import_state_dict(
        {f"module.{name}": value for name, value in state_dict.items()}, model
    )
    ours, theirs = (traverse_util.flatten_dict(tree, sep="/") for tree in (variables, returned))
    assert not model.table().text_apart
    assert not any(name.endswith("position_ids") for name in state_dict)
    rows = model.config.model.text.max_tokens
    positions = "params/text_encoder/embeddings/position_embeddings/embedding"
    assert ours.keys() == theirs.keys()
    for path, value in ours.items():
        read = rows if path == positions else None  # later rows are never read
        np.testing.assert_array_equal(theirs[path][:read], value[:read], err_msg=path)
    return state_dict
