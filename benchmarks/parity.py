"""The recorded outputs of published networks on this device, in float32 and in bfloat16.

Needs the recordings and their readers of `tests`, and nothing else of the tests' packages.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rrsis_jax.configs import default
from rrsis_jax.models import published, registry
from tests.goldens import seeded_weights
from tests.models import foundation_models, recordings
from tests.models.backbones.recordings import GOLDENS

TYPES = ("float32", "bfloat16")
_FAMILY_SIZES = ("small", "base")
_IN_STAGES = ("dicor",)  # recordings of several stages; compared by the suite alone
# Of the largest difference of logits, as in the suite; of the foundation models by the range.
_BOUNDS = {"lgce_base": 1e-4, "lavt_base": 1e-4, "rs2sam2_small": 5e-6, "rsrefseg_small": 1e-5}
_BOUNDS["rsrefseg2_small"] = 1e-5
_FAMILY_BOUND = 2e-5
_FOUNDATION = {
    "rsrefseg_small": (foundation_models.load_rsrefseg, foundation_models.make_rsrefseg),
    "rsrefseg2_small": (foundation_models.load_rsrefseg2, foundation_models.make_rsrefseg2),
    "rs2sam2_small": (
        foundation_models.load_rs2sam2,
        lambda **types: foundation_models.make_rs2sam2(attend_padding=True, **types),
    ),
}


def names() -> list[str]:
    """Returns the recordings of whole networks, small ones first."""
    family = [
        f"{model}_{size}"
        for size in _FAMILY_SIZES
        for model in registry.names()
        if f"{model}_{size}" not in _FOUNDATION
        and model not in _IN_STAGES
        and (GOLDENS / f"{model}_{size}.npz").exists()
    ]
    small = [name for name in family if name.endswith("small")]
    return [*small, *_FOUNDATION, *(name for name in family if name not in small)]


def measure(name: str) -> Iterator[tuple[str, Callable[[], dict]]]:
    """Yields each compute type with the comparison of a recording's logits.

    Args:
      name: one of `names()`.
    """
    for dtype in TYPES:
        yield dtype, lambda dtype=dtype: _compared(name, dtype)


def _compared(name: str, dtype: str) -> dict[str, float | bool | None]:
    with jax.default_matmul_precision("highest" if dtype == "float32" else "default"):
        ours, recorded = (_foundation if name in _FOUNDATION else _family)(name, dtype)
    ours = np.asarray(ours, np.float32)
    if ours.shape != recorded.shape:
        raise ValueError(f"{name} gives {ours.shape}, recorded are {recorded.shape}.")
    bound = _BOUNDS.get(name, _FAMILY_BOUND)
    if name in _FOUNDATION:
        bound *= max(1.0, float(np.abs(recorded).max()))
    difference = np.abs(ours - recorded)
    return {
        "largest difference": float(difference.max()),
        "mean difference": float(difference.mean()),
        "range": float(np.ptp(recorded)),
        "same class": float(np.mean(_classes(ours) == _classes(recorded))),
        "bound": bound if dtype == "float32" else None,
        "within": bool(difference.max() <= bound) if dtype == "float32" else None,
    }


def _classes(logits: np.ndarray) -> np.ndarray:
    """(…, 2) logits or (…, 1) log-odds to the class of each pixel."""
    return logits.argmax(axis=-1) if logits.shape[-1] == 2 else logits[..., 0] > 0


def _family(name: str, dtype: str) -> tuple[jax.Array, np.ndarray]:
    model_name, size = name.split("_")
    config = default.get_config(model_name)
    fields = recordings.SIZES[size]
    config.model.vision.update({key: fields[key] for key in ("embed_dim", "depths", "num_heads")})
    config.model.vision.window_size = fields["window"]
    config.model.dtype = dtype
    recording = _recording(name)
    model = registry.build(config)
    variables, _ = published.import_state_dict(recording.state_dict, model)
    network: Any = model.network()
    recorded = recording.arrays["logits"]

    def logits(variables: Mapping, image: jax.Array, text: Mapping) -> jax.Array:
        outputs = network.apply(variables, {"image": image}, text, method="segment")
        return recordings.sampled(outputs.aux["logits"], recorded.shape)

    return jax.jit(logits)(variables, recording.image, recording.text), recorded


def _recording(name: str) -> recordings.Recording:
    with np.load(GOLDENS / f"{name}.npz") as arrays:
        further = [key.removesuffix("_mask") for key in arrays.files if key.endswith("_mask")]
    return recordings.load(GOLDENS, seeded_weights, name, further)


def _foundation(name: str, dtype: str) -> tuple[jax.Array, np.ndarray]:
    load, make = _FOUNDATION[name]
    golden = load()
    if dtype != "float32":
        golden = dataclasses.replace(golden, network=make(dtype=jnp.dtype(dtype).type))
    outputs, _ = foundation_models.run(golden)
    recorded = golden.arrays["mask_logits" if name == "rs2sam2_small" else "logits"]
    computed = outputs["mask_logits"] if name == "rs2sam2_small" else outputs["log_odds"]
    return computed[..., None], recorded
