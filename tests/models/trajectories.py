"""Recorded optimisation steps in float64, followed by plain JAX and optax."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from types import ModuleType

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util

from rrsis_jax.models import losses
from rrsis_jax.models.backbones.bert.network import TextEncoder
from rrsis_jax.weights.mapping import Rule, Skip, export_weights, import_weights
from tests.models.recordings import shapes, text_inputs


@dataclasses.dataclass
class Trajectory:
    """What a followed trajectory gave, under the names of the recording."""

    logits_step0: np.ndarray
    losses: np.ndarray
    terms: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    batch_stats: dict[str, np.ndarray]
    eval_logits: np.ndarray
    unmoved: set[str]


class Vectors:
    """The leaves of a nested dictionary, joined to one vector for each label, and back.

    What AdamW does to an element does not depend on the array that it lies in, and a few vectors
    compile in a fraction of the time of hundreds of arrays.
    """

    def __init__(self, tree: Mapping, label_of: Callable[[tuple[str, ...]], Hashable]):
        """Takes the paths and shapes of a tree.

        Args:
          tree: of arrays.
          label_of: path → label; a vector has the first path of its label.
        """
        self._shapes = {path: x.shape for path, x in traverse_util.flatten_dict(tree).items()}
        self._paths: dict[Hashable, list[tuple[str, ...]]] = {}
        for path in self._shapes:
            self._paths.setdefault(label_of(path), []).append(path)

    def join(self, tree: Mapping) -> Mapping:
        flat = traverse_util.flatten_dict(tree)
        return traverse_util.unflatten_dict(
            {
                paths[0]: np.concatenate([np.ravel(flat[path]) for path in paths])
                for paths in self._paths.values()
            }
        )

    def split(self, vectors: Mapping) -> Mapping:
        flat, leaves = traverse_util.flatten_dict(vectors), {}
        for paths in self._paths.values():
            ends = np.cumsum([np.prod(self._shapes[path], dtype=int) for path in paths])
            parts = np.split(np.asarray(flat[paths[0]]), ends[:-1])
            for path, part in zip(paths, parts, strict=True):
                leaves[path] = part.reshape(self._shapes[path])
        return traverse_util.unflatten_dict(leaves)


def square_target(seed: int, shape: Sequence[int]) -> np.ndarray:
    """Returns uint8 (B, H, W): one square of a third of both sides for each sample."""
    batch, height, width = shape[:3]
    places = np.random.Generator(np.random.Philox(key=[seed, 3]))
    rows, columns = height // 3, width // 3
    target = np.zeros((batch, height, width), np.uint8)
    for sample in target:
        y, x = places.integers(0, height - rows), places.integers(0, width - columns)
        sample[y : y + rows, x : x + columns] = 1
    return target


def entropy_and_dice(log_odds: jax.Array, target: jax.Array) -> dict[str, jax.Array]:
    """The terms of RMSIN's loss, and of those that took it over, with their factors."""
    weights = losses.pixel_weights(target, (0.9, 1.1))
    entropy = jnp.sum(losses.cross_entropy(log_odds, target) * weights) / jnp.sum(weights)
    return {"ce": entropy, "dice": jnp.sum(losses.two_class_dice(log_odds, target))}


def follow(
    network: nn.Module,
    arrays: Mapping[str, np.ndarray],
    state_dict: Mapping[str, np.ndarray],
    batches: Sequence[Mapping],
    rules: Sequence[Rule],
    skips: Sequence[Skip],
    terms_of: Callable[[jax.Array, jax.Array], dict[str, jax.Array]],
    factors: Mapping[str, float],
    method: str = "segment",
) -> Trajectory:
    """Trains from a recording's first weights as its reference did.

    What does not decay: parameters of the published "backbone." whose name contains "norm" or
    names a position table. Parameters without gradient (`grad_is_none`) are left alone, and of a
    text encoder all but its first `trained_text_layers` layers.

    Args:
      network: the whole, or all behind the text encoder.
      arrays: the recording.
      state_dict: published name → weights.
      batches: "image", "text" and "target" each.
      rules: from published names to our paths.
      skips: published names that are never called.
      terms_of: (log-odds, target) → the terms of the loss.
      factors: of these terms.
      method: of the network, "segment" or "__call__", according to what the text is.
    """
    with jax.enable_x64(True):
        first = batches[0]
        expected = shapes(network, first["image"], first["text"], method)
        expected = {
            path: jax.ShapeDtypeStruct(x.shape, jnp.float64) for path, x in expected.items()
        }
        flat, _ = import_weights(state_dict, rules, skips, expected)
        start = traverse_util.unflatten_dict(flat, sep="/")
        named = {
            path: next(iter(export_weights({path: x}, rules, {path: x})))
            for path, x in flat.items()
            if path.startswith("params/")
        }
        dead = set(arrays["grad_names"][arrays["grad_is_none"]])

        layers = int(arrays.get("trained_text_layers", 0))

        def group(path: tuple[str, ...]) -> str:
            return _group(named["params/" + "/".join(path)], dead, layers)

        def labelled(params: Mapping) -> Mapping:
            return traverse_util.path_aware_map(lambda path, _: group(path), params)

        schedule = optax.polynomial_schedule(
            float(arrays["lr"]), 0.0, 0.9, int(arrays["total_steps"])
        )
        decay = float(arrays["weight_decay"])
        optimizer = optax.multi_transform(
            {
                "decayed": optax.adamw(schedule, eps=1e-8, weight_decay=decay),
                "plain": optax.adamw(schedule, eps=1e-8, weight_decay=0.0),
                "fixed": optax.set_to_zero(),
            },
            labelled,
        )

        def forward(params: Mapping, stats: Mapping, batch: Mapping) -> tuple:
            outputs, state = network.apply(
                {"params": params, "batch_stats": stats},
                {"image": batch["image"]},
                batch["text"],
                train=True,
                method=method,
                mutable=["batch_stats"],
            )
            terms = terms_of(outputs.log_odds, batch["target"])
            loss = sum(factors[name] * term for name, term in terms.items())
            return loss, (terms, outputs.aux["logits"], state["batch_stats"])

        differentiate = jax.jit(jax.value_and_grad(forward, has_aux=True))

        @jax.jit
        def update(gradients: Mapping, state: optax.OptState, params: Mapping) -> tuple:
            updates, state = optimizer.update(gradients, state, params)
            return optax.apply_updates(params, updates), state

        params, stats = start["params"], start["batch_stats"]
        vectors = Vectors(params, group)
        joint = vectors.join(params)
        state, history = optimizer.init(joint), []
        for index in range(int(arrays["steps"])):
            batch = batches[index % len(batches)]
            (loss, (terms, logits, stats)), gradients = differentiate(params, stats, batch)
            joint, state = update(vectors.join(gradients), state, joint)
            params = vectors.split(joint)
            history.append((loss, terms, logits, gradients))
            if index == 0:
                first_stats = stats

        def exported(collection: str, tree: Mapping) -> dict[str, np.ndarray]:
            here = traverse_util.flatten_dict({collection: tree}, sep="/")
            return export_weights(here, rules, here)

        final = exported("params", params)
        evaluate = jax.jit(
            lambda params, stats: network.apply(
                {"params": params, "batch_stats": stats},
                {"image": batch["image"]},
                batch["text"],
                method=method,
            )
        )
        return Trajectory(
            logits_step0=np.asarray(history[0][2]),
            losses=np.array([float(seen[0]) for seen in history]),
            terms={name: np.array([float(seen[1][name]) for seen in history]) for name in factors},
            gradients=exported("params", history[0][3]),
            batch_stats=exported("batch_stats", first_stats),
            eval_logits=np.asarray(evaluate(params, stats).aux["logits"]),
            unmoved={name for name, x in final.items() if (x == state_dict[name]).all()},
        )


def _group(name: str, dead: set[str], text_layers: int) -> str:
    if name in dead:
        return "fixed"
    if name.startswith("text_encoder."):
        layer = re.match(r"text_encoder\.encoder\.layer\.(\d+)\.", name)
        return "decayed" if layer and int(layer[1]) < text_layers else "fixed"
    spared = ("norm", "absolute_pos_embed", "relative_position_bias_table")
    if name.startswith("backbone.") and any(word in name for word in spared):
        return "plain"
    return "decayed"


def batches_of(seeded: ModuleType, arrays: Mapping, text_of: Callable[[int], Mapping]) -> list:
    """Returns the recorded batches, in float64.

    Args:
      seeded: the module that draws inputs.
      arrays: the recording.
      text_of: seed of a batch → its text.
    """
    shape = tuple(arrays["image_shape"])
    seeds = [int(arrays["seed"]) * 100 + index for index in range(int(arrays["num_batches"]))]
    return [
        {
            "image": seeded.seeded_image(shape, seed).astype(np.float64),
            "text": text_of(seed),
            "target": square_target(seed, shape),
        }
        for seed in seeds
    ]


def features_of(
    seeded: ModuleType, arrays: Mapping, extra_features: Sequence[str] = ()
) -> Callable[[int], Mapping]:
    """Returns seed → the text features that it draws, in float64."""

    def text_of(seed: int) -> Mapping:
        text = text_inputs(seeded, arrays, seed, extra_features)
        return {k: x.astype(np.float64) if x.dtype == np.float32 else x for k, x in text.items()}

    return text_of


def small_bert(
    goldens: pathlib.Path, seeded: ModuleType, seed: int
) -> tuple[TextEncoder, dict[str, np.ndarray]]:
    """Returns the text encoder of the recordings, in float64, and its weights by their names."""
    sizes = json.loads((goldens / "bert_small_config.json").read_text())
    names = [field.name for field in dataclasses.fields(TextEncoder) if field.name in sizes]
    bert = TextEncoder(**{name: sizes[name] for name in names}, dropout=0.0, dtype=jnp.float64)
    weights = seeded.seeded_state_dict(goldens / "manifest_bert_small.json", seed)
    return bert, {f"text_encoder.{name}": value for name, value in weights.items()}


def tokens_of(
    arrays: Mapping, vocab_size: int, masks: Sequence[str] = ()
) -> Callable[[int], Mapping]:
    """Returns seed → the token ids that it draws, with the recorded masks.

    Args:
      arrays: the recording.
      vocab_size: of the text encoder.
      masks: names of further masks.
    """
    lengths = arrays["text_lengths"]
    mask = (np.arange(20)[None] < lengths[:, None]).astype(np.int32)

    def text_of(seed: int) -> Mapping:
        words = np.random.Generator(np.random.Philox(key=[seed, 2]))
        ids = words.integers(5, vocab_size, mask.shape).astype(np.int32)
        further = {name: arrays[name].astype(np.int32) for name in masks}
        return {"input_ids": ids * mask, "attention_mask": mask, **further}

    return text_of


def assert_followed(ours: Trajectory, arrays: Mapping[str, np.ndarray]) -> None:
    """Compares a trajectory with its recording."""
    every = (slice(None), slice(None, None, 2), slice(None, None, 2))
    np.testing.assert_allclose(ours.logits_step0[every], arrays["logits_step0"], atol=1e-7)
    np.testing.assert_allclose(ours.losses, arrays["losses"], rtol=1e-7)
    for name, values in ours.terms.items():
        if f"{name}_losses" in arrays:
            np.testing.assert_allclose(values, arrays[f"{name}_losses"], rtol=1e-7)
    _assert_gradient_norms(ours, arrays)
    for statistic in ("mean", "var"):
        recorded = arrays[f"bn_running_{statistic}_after_step0"]
        names = arrays["bn_names"]
        joined = np.concatenate([ours.batch_stats[f"{name}.running_{statistic}"] for name in names])
        np.testing.assert_allclose(joined, recorded, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(ours.eval_logits[every], arrays["eval_logits_after"], atol=1e-6)


def _assert_gradient_norms(ours: Trajectory, arrays: Mapping[str, np.ndarray]) -> None:
    called = ours.gradients.keys()
    dead = set(arrays["grad_names"][arrays["grad_is_none"]])
    assert dead & called <= ours.unmoved
    norms = dict(zip(arrays["grad_names"], arrays["grad_norms"], strict=True))
    assert called - norms.keys() == set()
    for name, gradient in ours.gradients.items():
        norm = float(np.linalg.norm(gradient))
        if name in dead:
            assert norm == 0.0, name
        else:
            # What vanishes in exact arithmetic is round-off on both sides.
            assert abs(norm - norms[name]) <= 1e-6 * norms[name] + 1e-12, name
