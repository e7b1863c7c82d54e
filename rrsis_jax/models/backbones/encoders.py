"""Foundation encoders by name: SAM, SAM 2, SigLIP and BEiT-3, each usable alone.

  sam2 = encoders.build("sam2.1_hiera_tiny")               # a Flax module
  variables = encoders.load(sam2, "sam2.1_hiera_tiny.pt")  # the authors' file, or Hugging Face's
  image = encoders.normalize(sam2, pixels)                 # uint8 (B, 1024, 1024, 3)
  features = sam2.apply(variables, image, method="encode_image")

`docs/encoders.md` shows more.
"""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from rrsis_jax import constants, errors
from rrsis_jax.models.backbones.beit3 import config as beit3_config
from rrsis_jax.models.backbones.beit3 import network as beit3
from rrsis_jax.models.backbones.beit3 import weights as beit3_weights
from rrsis_jax.models.backbones.naming import Layout, StateDict
from rrsis_jax.models.backbones.sam import config as sam_config
from rrsis_jax.models.backbones.sam import network as sam
from rrsis_jax.models.backbones.sam import weights as sam_weights
from rrsis_jax.models.backbones.sam2 import config as sam2_config
from rrsis_jax.models.backbones.sam2 import network as sam2
from rrsis_jax.models.backbones.sam2 import weights as sam2_weights
from rrsis_jax.models.backbones.siglip import config as siglip_config
from rrsis_jax.models.backbones.siglip import network as siglip
from rrsis_jax.models.backbones.siglip import weights as siglip_weights
from rrsis_jax.models.layers import tracing
from rrsis_jax.types import Params, Variables
from rrsis_jax.weights import sources, state_dicts
from rrsis_jax.weights.mapping import MappingError, Report, Row, export_weights, import_weights

_IMAGENET = (constants.IMAGENET_MEAN, constants.IMAGENET_STD)


@dataclasses.dataclass(frozen=True)
class Family:
    """What the sizes of one network have in common.

    Attributes:
      title: as people call it.
      network: the Flax module.
      sizes: name → fields.
      layouts: how weights are published.
      inputs: the shapes of what the network is called with, one of each.
      statistics: mean and deviation that are taken off images scaled to [0, 1].
    """

    title: str
    network: type[nn.Module]
    sizes: Mapping[str, Mapping[str, Any]]
    layouts: Sequence[Layout]
    inputs: Callable[[nn.Module], tuple[jax.ShapeDtypeStruct, ...]]
    statistics: tuple[tuple[float, ...], tuple[float, ...]] = _IMAGENET


def _image(network: nn.Module) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((1, network.image_size, network.image_size, 3), network.dtype)


_WORD = jax.ShapeDtypeStruct((1, 1), jnp.int32)

FAMILIES = (
    Family("SAM", sam.Sam, sam_config.SIZES, sam_weights.LAYOUTS, lambda n: (_image(n),)),
    Family("SAM 2", sam2.Sam2, sam2_config.SIZES, sam2_weights.LAYOUTS, lambda n: (_image(n),)),
    Family(
        "SigLIP",
        siglip.Siglip,
        siglip_config.SIZES,
        siglip_weights.LAYOUTS,
        lambda n: (_image(n), _WORD),
        statistics=((0.5,) * 3, (0.5,) * 3),
    ),
    Family(
        "BEiT-3",
        beit3.Beit3,
        beit3_config.SIZES,
        beit3_weights.LAYOUTS,
        lambda n: (_image(n), _WORD, _WORD),
    ),
)


def names() -> list[str]:
    """Returns the names that `build` knows."""
    return [name for family in FAMILIES for name in family.sizes]


def build(name: str, **fields: Any) -> nn.Module:
    """Returns the network of a published size.

    Args:
      name: one of `names()`.
      **fields: what shall differ from it, as `dtype=jnp.bfloat16` or `remat=True`.

    Raises:
      ValueError: if there is no such size or field.
    """
    for family in FAMILIES:
        if name not in family.sizes:
            continue
        known = {field.name for field in dataclasses.fields(family.network)} - {"parent", "name"}
        if unknown := sorted(fields.keys() - known):
            raise ValueError(
                f"{family.title} has no {errors.listing(unknown)}; its fields are "
                f"{', '.join(sorted(known))}."
            )
        return family.network(**{**family.sizes[name], **fields})
    raise ValueError(f"there is no encoder {name!r}; expected one of {', '.join(names())}.")


def normalize(network: nn.Module, pixels: jax.Array | np.ndarray) -> jax.Array:
    """Prepares images for a network.

    Args:
      network: what `build` returned.
      pixels: uint8 RGB (B, S, S, 3).

    Returns:
      float32 (B, S, S, 3), less the mean and over the deviation that the network was trained with.

    Raises:
      ValueError: if the pixels are not uint8, which may be scaled in some other way.
    """
    if pixels.dtype != np.uint8:
        raise ValueError(f"the pixels came as {pixels.dtype}; expected uint8 RGB from 0 to 255.")
    mean, std = (np.asarray(x, np.float32).reshape(1, 1, 1, 3) for x in _family(network).statistics)
    return (jnp.asarray(pixels, jnp.float32) / 255.0 - mean) / std


def shapes(network: nn.Module) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns shape and type of every parameter by its path, without computing any."""
    variables = tracing.variable_shapes(network, *_family(network).inputs(network))
    return flax.traverse_util.flatten_dict(variables, sep="/")


def count(network: nn.Module) -> int:
    """Returns how many numbers the parameters are, position matrices included."""
    return sum(math.prod(spec.shape) for spec in shapes(network).values())


def load(network: nn.Module, path: str | pathlib.Path) -> Variables:
    """Reads published weights.

    Args:
      network: what `build` returned.
      path: a .safetensors, .pt or .pth file, a folder as `save_pretrained` writes it, or an
        address of the hub, see `sources.find`; under the authors' names or Hugging Face's.

    Returns:
      Variables for ``network.apply``, NumPy arrays of its `param_dtype`.

    Raises:
      ValueError: if the file cannot be read, or holds another network or size; all differences are
        listed.
    """
    variables, _ = import_state_dict(network, state_dicts.read_state_dict(sources.find(path).path))
    return variables


def save(
    network: nn.Module, variables: Variables, path: str | pathlib.Path, layout: str = ""
) -> None:
    """Writes weights under published names, so that other libraries read them.

    Args:
      network: what `build` returned.
      variables: of it.
      path: a .safetensors or .pt file.
      layout: "meta" or "huggingface"; "" for the first that the network has.

    Raises:
      ValueError: if there is no such layout, or the variables are of another network.
    """
    known = _family(network).layouts
    chosen = [one for one in known if one.name == (layout or known[0].name)]
    if not chosen:
        raise ValueError(
            f"{_family(network).title} is not published in the layout {layout!r}; expected one of "
            f"{', '.join(one.name for one in known)}."
        )
    flat = flax.traverse_util.flatten_dict(variables, sep="/")
    state_dict = export_weights(flat, chosen[0].rules, shapes(network))
    state_dicts.write_state_dict(path, chosen[0].restore(state_dict))


def load_part(network: nn.Module, source: str, expected: Params) -> tuple[Params, Report]:
    """Reads published weights of an encoder that is part of a model, for `contract.Part`.

    Args:
      network: the encoder as it is published, without adapters.
      source: see `load`.
      expected: nested shapes of the model's part. What the published encoder lacks, as adapters,
        stays as it starts.

    Returns:
      Nested dictionaries of the parameters that were read, and what went where.

    Raises:
      ValueError: see `load`.
    """
    flat = flax.traverse_util.flatten_dict({"params": expected}, sep="/")
    published = shapes(network)
    read = {path: spec for path, spec in flat.items() if path in published}
    state_dict = state_dicts.read_state_dict(sources.find(source).path)
    variables, report = import_state_dict(network, state_dict, read)
    report.rows += [Row("-", path, "stays initialised") for path in flat if path not in read]
    return dict(variables["params"]), report


def import_state_dict(
    network: nn.Module,
    state_dict: StateDict,
    expected: Mapping[str, jax.ShapeDtypeStruct] | None = None,
) -> tuple[Variables, Report]:
    """Does what `load` does with a state dict, and returns what went where as well.

    Args:
      network: what `build` returned.
      state_dict: foreign name → array.
      expected: flat path → shape and type of what is read; None for all that the network has.
    """
    family = _family(network)
    layout = _recognise(family, state_dict)
    try:
        flat, report = _import(layout, state_dict, expected or shapes(network))
    except MappingError as error:
        fitting = [name for name in family.sizes if _fits(family, name, layout, state_dict)]
        if not fitting:
            raise
        raise MappingError(
            f"the weights are those of {' or '.join(fitting)}, and the network is of another size; "
            f"build that one, or choose other weights."
        ) from error
    return flax.traverse_util.unflatten_dict(flat, sep="/"), report


def _import(
    layout: Layout, state_dict: StateDict, expected: Mapping[str, jax.ShapeDtypeStruct]
) -> tuple[dict[str, np.ndarray], Report]:
    return import_weights(layout.prepare(state_dict), layout.rules, layout.skips, expected)


def _recognise(family: Family, state_dict: StateDict) -> Layout:
    """Returns the layout of weights by the name that only it has."""
    for layout in family.layouts:
        if layout.sign in state_dict:
            return layout
    others = [f.title for f in FAMILIES if any(one.sign in state_dict for one in f.layouts)]
    held = f"are of {others[0]}" if others else "are of no encoder that is known here"
    signs = " or ".join(layout.sign for layout in family.layouts)
    raise MappingError(
        f"the weights {held}, and the network is {family.title}, which has {signs} among its "
        "names. Choose other weights, or another network."
    )


def _fits(family: Family, name: str, layout: Layout, state_dict: StateDict) -> bool:
    """Returns whether weights are those of a published size."""
    try:
        _import(layout, state_dict, _published_shapes(name))
    except MappingError:
        return False
    return True


@functools.cache
def _published_shapes(name: str) -> dict[str, jax.ShapeDtypeStruct]:
    return shapes(build(name))


def _family(network: nn.Module) -> Family:
    for family in FAMILIES:
        if isinstance(network, family.network):
            return family
    raise ValueError(
        f"a {type(network).__name__} is no encoder; expected what encoders.build returns."
    )
