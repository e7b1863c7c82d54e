"""A trained model as three pure functions on squares, with all that is needed to call them."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import flax.traverse_util
import jax
import ml_collections

from rrsis_jax import constants
from rrsis_jax.configuration import run_folder
from rrsis_jax.data.inputs import MAIN, Inputs, Tokenizer
from rrsis_jax.distributed import parallel
from rrsis_jax.models import published, registry
from rrsis_jax.models.contract import Tree
from rrsis_jax.prediction import run_facts
from rrsis_jax.types import Variables
from rrsis_jax.weights import mapping, runs, sources, trees, variable_folder

_TEXT_ENCODER = "params/text_encoder"


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """What turns squares of pixels and phrases into log-odds; see `models.contract` for the trees.

    Attributes:
      encode_text: (variables, tokens (B, …)) → encoded text (B, …), once a phrase.
      encode_image: (variables, {name: uint8 (B, s, s, 3)}) → encoded images (B, …), once a square.
      segment: (variables, encoded images (B, …), encoded text (B, …)) → float32 (B, tile, tile)
        log-odds, negative where the phrase names nothing.
      variables: nested dictionaries of numpy arrays.
      tokenizer: phrases to tokens.
      inputs: what a sample consists of.
      gsd: metres a pixel that the model was trained on; None if not known.
      backend: how the functions are mapped over devices, see `parallel.mapped`.
      facts: where the weights are from ("sources", see `sources.Source.record`) and, of a run,
        what `run_facts.read` returns; as JSON has it.
    """

    encode_text: Callable
    encode_image: Callable
    segment: Callable
    variables: Variables
    tokenizer: Tokenizer
    inputs: Inputs
    gsd: float | None
    backend: str = parallel.PMAP
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def tile(self) -> int:
        """Side of the square in pixels."""
        return self.inputs.images[MAIN].size

    def digest(self) -> str:
        """Returns a fingerprint of the variables."""
        return trees.digest(self.variables)


def from_workdir(workdir: pathlib.Path | str) -> TrainedModel:
    """Loads the best checkpoint of a run.

    Raises:
      ValueError: if the folder holds no run, no validated checkpoint or no tokenizer.
    """
    folder = pathlib.Path(workdir).absolute()
    config = run_folder.load(folder)
    step, variables = runs.best(folder)
    facts = run_facts.read(folder, config, step)
    return _build(folder, config, variables, str(folder / constants.TOKENIZER_FOLDER), facts)


def from_weights(source: pathlib.Path | str, config: ml_collections.ConfigDict) -> TrainedModel:
    """Loads weights in their authors' layout, or variables that `rrsis-weights import` wrote.

    Args:
      source: a file, a folder or an address on the hub, see `sources.find`.
      config: the configuration of their model.

    Raises:
      ValueError: if there are none, they have no text encoder, are of another model, or the
        tokenizer that the config names is not to be had.
    """
    weights = sources.find(source)
    if weights.holds_variables:
        variables = variable_folder.load(weights.path.parent)
    else:
        variables, _ = published.import_weights(weights, registry.build(config))
    table = registry.build(config).table()
    parts = mapping.joined(table.absent(flax.traverse_util.flatten_dict(variables, sep="/")))
    absent = [part for part in parts if part.startswith(_TEXT_ENCODER)]
    if absent:
        raise ValueError(
            f"{source} holds no {', '.join(absent)}: without its text encoder a model cannot read "
            "expressions."
        )
    facts = {"sources": [weights.record()]}
    return _build(source, config, variables, config.data.tokenizer, facts)


def _build(
    source: pathlib.Path | str,
    config: ml_collections.ConfigDict,
    variables: Variables,
    tokenizer_name: str,
    facts: Mapping[str, Any],
) -> TrainedModel:
    model = registry.build(config)
    trees.check_variables(source, variables, model.shapes())
    network = model.network()

    def encode_text(variables: Variables, text: Tree) -> Tree:
        return network.apply(variables, text, method="encode_text")

    def encode_image(variables: Variables, images: Tree) -> Tree:
        return network.apply(variables, images, method="encode_image")

    def segment(variables: Variables, image: Tree, text: Tree) -> jax.Array:
        outputs: Any = network.apply(variables, image, text, method="segment")
        return outputs.answer()

    return TrainedModel(
        encode_text=encode_text,
        encode_image=encode_image,
        segment=segment,
        variables=variables,
        tokenizer=model.tokenizer(tokenizer_name),
        inputs=model.inputs(),
        gsd=config.data.ground_sampling_distance or None,
        backend=config.distributed.backend,
        facts=facts,
    )
