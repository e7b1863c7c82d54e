"""Recorded outputs of published networks: their weights, inputs, and how a run compares."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax import traverse_util

from rrsis_jax.weights.mapping import Rule, Skip, export_weights, import_weights

SIZES = {
    "small": {"embed_dim": 16, "depths": (2, 2, 4, 2), "num_heads": (1, 2, 4, 8), "window": 7},
    "base": {
        "embed_dim": 128,
        "depths": (2, 2, 18, 2),
        "num_heads": (4, 8, 16, 32),
        "window": 12,
        "scan": True,  # compiles in less time; blocks one after the other are held at "small"
    },
}

Maps = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Recording:
    """One recording: the weights by their published names, what went in, what came out."""

    arrays: dict[str, np.ndarray]
    state_dict: dict[str, np.ndarray]
    image: np.ndarray
    text: dict[str, np.ndarray]


def load(
    goldens: pathlib.Path, seeded: ModuleType, name: str, extra_features: Sequence[str] = ()
) -> Recording:
    """Reads one recording, such as "rmsin_small".

    Args:
      goldens: the folder of recordings.
      seeded: the module that draws weights and inputs.
      name: of the recording.
      extra_features: further text features, whose masks the recording holds, as "object".
    """
    arrays = dict(np.load(goldens / f"{name}.npz"))
    seed, shape = int(arrays["seed"]), tuple(arrays["image_shape"])
    return Recording(
        arrays=arrays,
        state_dict=seeded.seeded_state_dict(goldens / f"manifest_{name}.json", seed),
        image=seeded.seeded_image(shape, seed),
        text=text_inputs(seeded, arrays, seed, extra_features),
    )


def text_inputs(
    seeded: ModuleType, arrays: Mapping, seed: int, extra_features: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Returns the text features that a seed draws, with their masks."""
    batch, lengths = len(arrays["text_lengths"]), arrays["text_lengths"]
    text = {
        "features": seeded.seeded_image((batch, 20, 768), seed + 1000),
        "mask": (np.arange(20)[None] < lengths[:, None]).astype(np.int32),
    }
    for number, name in enumerate(extra_features, start=2):
        text[f"{name}_features"] = seeded.seeded_image((batch, 20, 768), seed + 1000 * number)
        text[f"{name}_mask"] = arrays[f"{name}_mask"].astype(np.int32)
    return text


def shapes(
    network: nn.Module, image: np.ndarray, text: Mapping, method: str = "segment"
) -> dict[str, Any]:
    """Returns our flat path → shape and type of the variables that a method reads."""

    def init(key: jax.Array) -> Mapping:
        return network.init(key, {"image": image}, text, method=method)

    tree = dict(jax.eval_shape(init, jax.random.key(0)))
    return traverse_util.flatten_dict({k: tree[k] for k in ("params", "batch_stats")}, sep="/")


def import_exactly(
    network: nn.Module, recording: Recording, rules: Sequence[Rule], skips: Sequence[Skip]
) -> tuple[dict, set[str]]:
    """Imports a recording's weights and exports them again: what was read comes back as it was.

    Returns:
      The variables, and the published names that are never called.
    """
    expected = shapes(network, recording.image, recording.text)
    flat, report = import_weights(recording.state_dict, rules, skips, expected)
    exported = export_weights(flat, rules, expected)
    skipped = {row.source for row in report.rows if row.target == "-"}
    assert exported.keys() == recording.state_dict.keys() - skipped
    for name, value in exported.items():
        np.testing.assert_array_equal(value, recording.state_dict[name], err_msg=name)
    return traverse_util.unflatten_dict(flat, sep="/"), skipped


def sampled(full: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Returns every s-th value along each axis, with the s that leads to a recorded shape."""
    steps = (-(-size // count) for size, count in zip(full.shape, shape, strict=True))
    return full[tuple(slice(None, None, step) for step in steps)]


def run(
    network: nn.Module,
    variables: Mapping,
    recording: Recording,
    maps_of: Callable[[Mapping[str, Any], Any], Maps],
) -> Maps:
    """Runs the network in evaluation and returns what the recording holds, sampled alike.

    Args:
      network: with the method `segment`.
      variables: its weights.
      recording: whose input is taken.
      maps_of: (what every module returned or sowed, by path; outputs) → recorded name → map.
    """

    def forward(variables: Mapping, image: jax.Array, text: Mapping) -> Maps:
        outputs, state = network.apply(
            variables,
            {"image": image},
            text,
            method="segment",
            mutable=["intermediates"],
            capture_intermediates=True,
        )
        calls = traverse_util.flatten_dict(state["intermediates"], sep="/")
        calls = {path.removesuffix("/__call__"): value[0] for path, value in calls.items()}
        maps = maps_of(calls, outputs)
        recorded = recording.arrays
        return {
            name: sampled(x, recorded[name].shape) for name, x in maps.items() if name in recorded
        }

    return jax.jit(forward)(variables, recording.image, recording.text)


def assert_all_recorded(maps: Maps, recording: Recording, inputs: Sequence[str] = ()) -> None:
    """Compares every recorded map to 1e-4 of its range, and the logits to 2e-5."""
    known = {"seed", "image_shape", "text_lengths", *inputs}
    assert recording.arrays.keys() - known == maps.keys()
    errors = {}
    for name, ours in maps.items():
        recorded = recording.arrays[name]
        assert ours.shape == recorded.shape, name
        span = np.ptp(recorded) or np.abs(recorded).max()  # the latter of a constant
        errors[name] = float(np.abs(np.asarray(ours) - recorded).max() / span)
    assert max(errors.values()) <= 1e-4, errors
    assert np.abs(np.asarray(maps["logits"]) - recording.arrays["logits"]).max() <= 2e-5, errors
