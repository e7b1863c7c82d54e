"""Recorded optimisation steps of networks on foundation encoders, followed through the contract."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from flax import traverse_util

from rrsis_jax.models import published
from rrsis_jax.models.contract import Model, Outputs
from rrsis_jax.training import optim
from rrsis_jax.weights import trees
from rrsis_jax.weights.mapping import export_weights
from tests.goldens import seeded_weights
from tests.models.trajectories import square_target


@dataclasses.dataclass
class Followed:
    """What a followed trajectory gave; gradients and statistics by their published names.

    Attributes:
      losses: of each step.
      terms: of the loss, unscaled, by name, of each step.
      gradients: of the first step, of what is optimised.
      batch_stats: after the first step.
      first: outputs of the first step.
      last: outputs of an evaluation after the last step, on its batch.
      unmoved: names of parameters that have their first value at the end.
    """

    losses: np.ndarray
    terms: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    batch_stats: dict[str, np.ndarray]
    first: Outputs
    last: Outputs
    unmoved: set[str]


def batches_of(
    arrays: Mapping, images_of: Callable[[int], Mapping], text_of: Callable[[int], Mapping]
) -> list[dict]:
    """Returns the recorded batches.

    Args:
      arrays: the recording.
      images_of: seed of a batch → its images, in float64.
      text_of: seed of a batch → its tokens.
    """
    seeds = [int(arrays["seed"]) * 100 + index for index in range(int(arrays["num_batches"]))]
    shape = tuple(arrays["image_shape"])
    return [
        {
            "images": images_of(seed),
            "text": text_of(seed),
            "target": square_target(seed, shape),
        }
        for seed in seeds
    ]


def scaled_image(arrays: Mapping) -> Callable[[int], Mapping]:
    """Returns seed → the image around the middle of [0, 1], in float64."""
    shape = tuple(arrays["image_shape"])

    def images_of(seed: int) -> Mapping:
        drawn = seeded_weights.seeded_image(shape, seed)
        return {"image": (np.float32(0.5) + np.float32(0.25) * drawn).astype(np.float64)}

    return images_of


def padded_tokens(arrays: Mapping, vocab_size: int, pad: int) -> Callable[[int], Mapping]:
    """Returns seed → token ids, with a mask of ones: padding is read as published."""
    lengths = arrays["text_lengths"]
    inside = np.arange(lengths.max())[None] < lengths[:, None]

    def text_of(seed: int) -> Mapping:
        words = np.random.Generator(np.random.Philox(key=[seed, 2]))
        ids = words.integers(5, vocab_size, inside.shape)
        ids = np.where(inside, ids, pad).astype(np.int32)
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}

    return text_of


def follow(
    model: Model, state_dict: Mapping[str, np.ndarray], arrays: Mapping, batches: Sequence[Mapping]
) -> Followed:
    """Trains at a constant rate from a recording's first weights, in float64.

    Args:
      model: of `model.dtype` float64; says what is optimised, how, and by which loss.
      state_dict: published name → weights.
      arrays: the recording.
      batches: made by `batches_of`.
    """
    network, scales, rules = model.network(), model.loss_scales(), model.table().rules
    variables, _ = published.import_state_dict(state_dict, model)
    trained, frozen = optim.split_frozen(variables["params"], model)

    def loss_of(trained: Mapping, frozen: Mapping, stats: Mapping, batch: Mapping) -> tuple:
        outputs, updates = network.apply(
            {"params": trees.join(trained, frozen), "batch_stats": stats},
            batch["images"],
            batch["text"],
            train=True,
            mutable=["batch_stats"],
        )
        sums = model.loss_sums(outputs, batch, lambda x: x)
        weights = model.loss_weights(batch)
        terms = {name: sums[name] / weights[name] for name in scales}
        loss = sum(scale * terms[name] for name, scale in scales.items())
        return loss, (terms, outputs, updates.get("batch_stats", {}))

    step = jax.jit(jax.value_and_grad(loss_of, has_aux=True))
    adamw = Adamw(model, rate=float(arrays["lr"]), decay=float(arrays["weight_decay"]))
    now, stats = trained, variables["batch_stats"]
    losses, history = [], []
    for index in range(int(arrays["steps"])):
        batch = batches[index % len(batches)]
        (loss, seen), gradients = jax.device_get(step(now, frozen, stats, batch))
        now, stats = adamw(now, gradients), seen[2]
        losses.append(float(loss))
        history.append((*seen, gradients))
    evaluated = jax.jit(network.apply)(
        {"params": trees.join(now, frozen), "batch_stats": stats}, batch["images"], batch["text"]
    )
    _, outputs, first_stats, gradients = history[0]

    def exported(collection: str, tree: Mapping) -> dict[str, np.ndarray]:
        flat = traverse_util.flatten_dict({collection: jax.device_get(tree)}, sep="/")
        return export_weights(flat, rules, flat)

    final = exported("params", trees.join(now, frozen))
    return Followed(
        losses=np.array(losses),
        terms={name: np.array([float(seen[0][name]) for seen in history]) for name in scales},
        gradients=exported("params", gradients),
        batch_stats=exported("batch_stats", first_stats),
        first=outputs,
        last=jax.device_get(evaluated),
        unmoved={name for name, x in final.items() if (x == state_dict[name]).all()},
    )


class Adamw:
    """PyTorch's AdamW, in NumPy: that of optax compiles for longer than the network."""

    def __init__(self, model: Model, rate: float, decay: float):
        self.model, self.rate, self.decay = model, rate, decay
        self.count = 0
        self.moments: dict[tuple[str, ...], tuple[np.ndarray, np.ndarray]] = {}

    def __call__(self, params: Mapping, gradients: Mapping) -> dict:
        """Returns the next parameters; rates and decay are those of the model's groups."""
        self.count += 1
        flat, slopes = (traverse_util.flatten_dict(tree) for tree in (params, gradients))
        return traverse_util.unflatten_dict(
            {path: self._moved(path, value, slopes[path]) for path, value in flat.items()}
        )

    def _moved(self, path: tuple[str, ...], value: np.ndarray, slope: np.ndarray) -> np.ndarray:
        first, second = self.moments.get(path, (0.0, 0.0))
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope**2
        self.moments[path] = first, second
        first, second = first / (1 - 0.9**self.count), second / (1 - 0.999**self.count)
        group = self.model.param_group(path)
        step = first / (np.sqrt(second) + 1e-8) + self.decay * group.decay * value
        return value - self.rate * group.rate * step


def assert_gradients(ours: Followed, arrays: Mapping[str, np.ndarray]) -> None:
    """Compares norms to 1e-6; what has no recorded gradient is not optimised and stays."""
    absent = set(arrays["grad_names"][arrays["grad_is_none"]])
    norms = dict(zip(arrays["grad_names"], arrays["grad_norms"], strict=True))
    assert ours.gradients.keys() == norms.keys() - absent
    assert absent <= ours.unmoved
    for name, gradient in ours.gradients.items():
        # What vanishes in exact arithmetic is round-off on both sides.
        off = abs(float(np.linalg.norm(gradient)) - norms[name])
        assert off <= 1e-6 * norms[name] + 1e-12, name


def assert_statistics(ours: Followed, arrays: Mapping[str, np.ndarray]) -> None:
    """Compares running statistics to 1e-7 of their range: PyTorch's resize rounds to float32."""
    names = {name.removeprefix("bn:") for name in arrays if name.startswith("bn:")}
    assert names == ours.batch_stats.keys()
    for name in names:
        recorded = arrays[f"bn:{name}"]
        np.testing.assert_allclose(
            ours.batch_stats[name], recorded, atol=1e-7 * np.ptp(recorded), rtol=1e-7, err_msg=name
        )
