"""Tables of names: where a part's weights lie in our tree and in each published layout."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rrsis_jax.models.layers.adapters import Lora
from rrsis_jax.weights.mapping import CONV, IDENTITY, LINEAR, Rule, Skip, Transform, linear, norm

# (in, out, rows, columns) of a transposed convolution <-> (rows, columns, in, out)
TRANSPOSED_CONV = Transform(lambda x: x.transpose(2, 3, 0, 1), lambda x: x.transpose(2, 3, 0, 1))
# (1, C, rows, columns) <-> (1, rows, columns, C)
MAP = Transform(lambda x: x.transpose(0, 2, 3, 1), lambda x: x.transpose(0, 3, 1, 2))

_ARRAYS = {"array": IDENTITY, "matrix": LINEAR, "map": MAP}
_LAYERS = {"linear": LINEAR, "conv": CONV, "transposed": TRANSPOSED_CONV}


class Line(NamedTuple):
    """One layer or array of a table.

    Attributes:
      kind: of a layer "linear", "conv", "conv_without_bias", "transposed", "norm" or "batch_norm";
        of a single array "array" if it stays as it is, "matrix" if it is transposed, and "map" if
        it is (1, C, rows, columns) there.
      ours: path below the part, as "layers_{i}/attn/qkv".
      theirs: foreign name in each layout, as "blocks.{i}.attn.qkv".
    """

    kind: str
    ours: str
    theirs: tuple[str, ...]


StateDict = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the weights of a network are published by one source.

    Attributes:
      name: of the source, "meta" or "huggingface".
      sign: a foreign name by which the layout is recognised.
      rules: the mapping.
      skips: foreign names without use here.
      prepare: brings a state dict to the names of `rules`, where one array is several there.
      restore: undoes `prepare`.
    """

    name: str
    sign: str
    rules: Sequence[Rule]
    skips: Sequence[Skip] = ()
    prepare: Callable[[StateDict], StateDict] = dict
    restore: Callable[[StateDict], StateDict] = dict


def rules(lines: Iterable[Line], layout: int, ours: str, theirs: str) -> list[Rule]:
    """Returns the mapping of a table.

    Args:
      lines: the table.
      layout: which of the foreign names to take.
      ours: what precedes our paths, as "params/image_encoder/".
      theirs: what precedes the foreign names, as "image_encoder.".
    """
    made: list[Rule] = []
    for kind, own, names in lines:
        source, target = theirs + names[layout], ours + own
        if kind == "norm":
            made += norm(source, target)
        elif kind == "batch_norm":
            made += [*norm(source, target), *_statistics(source, target)]
        elif kind in _ARRAYS:
            made.append(Rule(source, target, _ARRAYS[kind]))
        else:
            name, _, without_bias = kind.partition("_")
            made += linear(source, target, not without_bias, _LAYERS[name])
    return made


def _statistics(source: str, target: str) -> list[Rule]:
    """Returns the mapping of a batch normalisation's running values."""
    ours = target.replace("params/", "batch_stats/", 1)
    return [
        Rule(f"{source}.running_mean", f"{ours}/mean"),
        Rule(f"{source}.running_var", f"{ours}/var"),
    ]


def with_adapters(table: Sequence[Rule], lora: Lora) -> list[Rule]:
    """Returns the mapping of a network with adapters, under the names that peft gives them."""
    made = []
    for rule in table:
        layer, _, leaf = rule.target.rpartition("/")
        _, _, theirs = rule.source.rpartition(".")
        numbered = re.sub(r"\{\w+\}", "0", layer)
        if leaf not in ("kernel", "bias") or not lora.covers(numbered.split("/")):
            made.append(rule)
            continue
        source = rule.source.removesuffix(f".{theirs}")
        made.append(Rule(f"{source}.base_layer.{theirs}", rule.target, rule.transform))
        if leaf == "kernel":
            for own, name in (("lora_a", "lora_A"), ("lora_b", "lora_B")):
                foreign = f"{source}.{name}.default.weight"
                made.append(Rule(foreign, f"{layer}/{own}", rule.transform))
    return made
