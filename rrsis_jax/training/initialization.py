"""Where a run's parameters come from: the order of precedence, owned by one function.

A run that has checkpoints of its own continues from them (see `train`). Otherwise, from strongest
to weakest: the LGCE or LAVT checkpoint named by `init_from`; pretrained Swin and BERT weights named
by `model.vision.pretrained` and `model.text.pretrained`; random numbers drawn from the seed.
"""

import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from rrsis_jax.models.backbones.bert import weights as bert_weights
from rrsis_jax.models.backbones.swin import weights as swin_weights
from rrsis_jax.models.registry import variable_shapes
from rrsis_jax.types import Params, Variables
from rrsis_jax.weights import conversion, state_dicts, trees, variable_folder

_DUMMY_SIZE = 32  # no parameter's shape depends on the image size


def initial_variables(
    config: ml_collections.ConfigDict, model: nn.Module, rng: jax.Array
) -> Variables:
    """Returns the variables before the first step.

    Args:
      config: the whole configuration.
      model: built from `config.model`.
      rng: the key of randomly drawn parameters.

    Returns:
      {"params", "batch_stats"} of float32 numpy arrays.

    Raises:
      ValueError: if a named file or folder does not fit the model, see `rrsis_jax.weights`.
    """
    given = load_checkpoint(config.init_from, config.model) if config.init_from else {}
    if "text_encoder" in given.get("params", {}):
        return given
    scratch = random_variables(model, config.model.text.max_tokens, rng)
    params = {**scratch["params"], **given.get("params", {})}
    if config.model.vision.pretrained and not given:
        loaded = swin_weights.load(config.model.vision.pretrained, config.model)
        params["backbone"] = _overlay(params["backbone"], loaded)
    if config.model.text.pretrained:
        params["text_encoder"] = bert_weights.load(config.model.text.pretrained, config.model)
    return {"params": params, "batch_stats": given.get("batch_stats", scratch["batch_stats"])}


def random_variables(model: nn.Module, max_tokens: int, rng: jax.Array) -> Variables:
    """Returns freshly drawn variables as numpy arrays."""
    image = jnp.zeros((1, _DUMMY_SIZE, _DUMMY_SIZE, 3), jnp.float32)
    ids = jnp.zeros((1, max_tokens), jnp.int32)
    # The program runs once: compiling it fast is worth more than running it fast.
    init = jax.jit(model.init, compiler_options={"xla_backend_optimization_level": 0})
    variables = init(rng, image, ids, jnp.ones_like(ids))
    return jax.tree.map(np.asarray, dict(variables))


def load_checkpoint(path: str, config_model: ml_collections.ConfigDict) -> Variables:
    """Reads an LGCE/LAVT checkpoint file of the authors' layout, or an imported folder."""
    if pathlib.Path(path).is_dir():
        variables, shapes = variable_folder.load(path), variable_shapes(config_model)
        if "text_encoder" not in variables.get("params", {}):
            del shapes["params"]["text_encoder"]
        trees.check_variables(path, variables, shapes)
        return variables
    return conversion.import_state_dict(state_dicts.read_state_dict(path), config_model)


def _overlay(params: Params, loaded: Params) -> Params:
    """Replaces the leaves of `params` that `loaded` has."""
    return {
        key: _overlay(value, loaded[key])
        if isinstance(value, dict) and key in loaded
        else loaded.get(key, value)
        for key, value in params.items()
    }
