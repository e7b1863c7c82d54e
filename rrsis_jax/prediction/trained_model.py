"""A trained model as two pure functions on fixed squares, with all that is needed to call them."""

import dataclasses
import pathlib
from collections.abc import Callable

import jax
import ml_collections

from rrsis_jax import constants
from rrsis_jax.configuration import run_folder
from rrsis_jax.data.tokenizers import wordpiece
from rrsis_jax.models import registry
from rrsis_jax.models.layers.images import normalize
from rrsis_jax.types import Variables
from rrsis_jax.weights import checkpoints, trees, variable_folder


@dataclasses.dataclass(frozen=True)
class TileModel:
    """What turns a square of pixels and a phrase into log-odds.

    Attributes:
      encode_text: (variables, int32 ids (B, N), int32 mask (B, N)) → float32 (B, N, D).
      log_odds: (variables, uint8 images (B, tile, tile, 3), float32 text features (B, N, D),
        int32 mask (B, N)) → float32 (B, tile, tile), the target's logit minus the background's.
      variables: nested dictionaries of numpy arrays.
      tokenizer: phrases to ids and masks.
      tile: side of the square in pixels.
      text_width: width D of the text features.
      gsd: metres a pixel that the model was trained on; None if not known.
    """

    encode_text: Callable
    log_odds: Callable
    variables: Variables
    tokenizer: wordpiece.PhraseTokenizer
    tile: int
    text_width: int
    gsd: float | None

    def digest(self) -> str:
        """Returns a fingerprint of the variables."""
        return trees.digest(self.variables)


def from_workdir(workdir: pathlib.Path | str) -> TileModel:
    """Loads the best checkpoint of a run.

    Raises:
      ValueError: if the folder holds no run, no validated checkpoint or no tokenizer.
    """
    folder = pathlib.Path(workdir).absolute()
    config = run_folder.load(folder)
    variables = _best_variables(folder)
    return _build(folder, config, variables, str(folder / constants.TOKENIZER_FOLDER))


def from_import(folder: pathlib.Path | str, config: ml_collections.ConfigDict) -> TileModel:
    """Loads variables that `rrsis-weights import` wrote.

    Args:
      folder: of the import.
      config: the configuration that they were imported with.

    Raises:
      ValueError: if there are no variables, they have no text encoder, are of another model, or
        the tokenizer that the config names is not to be had.
    """
    variables = variable_folder.load(folder)
    if "text_encoder" not in variables.get("params", {}):
        raise ValueError(f"{folder} holds no text encoder, so it cannot read expressions.")
    words = config.data.tokenizer or config.model.text.pretrained
    return _build(folder, config, variables, words)


def _build(
    source: pathlib.Path | str,
    config: ml_collections.ConfigDict,
    variables: Variables,
    tokenizer_name: str,
) -> TileModel:
    trees.check_variables(source, variables, registry.variable_shapes(config.model))
    model = registry.build_model(config.model)

    def encode_text(variables: Variables, ids: jax.Array, mask: jax.Array) -> jax.Array:
        return model.apply(variables, ids, mask, method="encode_text")

    def log_odds(
        variables: Variables, images: jax.Array, features: jax.Array, mask: jax.Array
    ) -> jax.Array:
        logits = model.apply(variables, normalize(images), features, mask, method="segment")
        return logits[..., 1] - logits[..., 0]

    return TileModel(
        encode_text=encode_text,
        log_odds=log_odds,
        variables=variables,
        tokenizer=wordpiece.load(tokenizer_name, config.model.text.max_tokens),
        tile=config.data.image_size,
        text_width=config.model.text.hidden_size,
        gsd=config.data.ground_sampling_distance or None,
    )


def _best_variables(folder: pathlib.Path) -> Variables:
    saved = checkpoints.Checkpoints(folder / constants.CHECKPOINTS_FOLDER, read_only=True)
    try:
        return saved.restore_best()[1]
    finally:
        saved.close()
