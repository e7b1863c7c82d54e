"""The small networks that stand on foundation encoders as they were recorded, and their inputs."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import linen as nn
from flax import traverse_util

from rrsis_jax.configs import default
from rrsis_jax.models import registry
from rrsis_jax.models.backbones.beit3.network import Beit3
from rrsis_jax.models.backbones.sam2.network import Sam2
from rrsis_jax.models.backbones.siglip.network import Siglip
from rrsis_jax.models.contract import Model
from rrsis_jax.models.layers.adapters import Lora
from rrsis_jax.models.rs2sam2 import network as rs2sam2
from rrsis_jax.models.rs2sam2 import weights as rs2sam2_weights
from rrsis_jax.models.rsrefseg import weights as rsrefseg_weights
from rrsis_jax.models.rsrefseg2 import config as rsrefseg2_config
from rrsis_jax.models.rsrefseg2 import network as rsrefseg2
from rrsis_jax.models.rsrefseg2 import prompter
from rrsis_jax.models.rsrefseg2 import weights as rsrefseg2_weights
from rrsis_jax.weights.mapping import Rule, Skip, import_weights
from tests.goldens import seeded_weights
from tests.models.backbones import recordings

_SIGLIP = {
    "scan": True,  # compiles in less time
    "width": 24,
    "mlp_dim": 40,
    "depth": 3,
    "num_heads": 3,
    "vocab_size": 120,
    "text_positions": 24,
}
_SAM2 = {
    "embed_dim": 16,
    "num_heads": 1,
    "depths": (1, 2, 4, 1),
    "windows": (4, 2, 4, 2),
    "global_blocks": (5,),
    "background": 3,
    "image_size": 128,
    "features": 32,
}


def rsrefseg_config() -> ml_collections.ConfigDict:
    """The configuration of the recorded RSRefSeg."""
    config = default.get_config("rsrefseg")
    config.data.image_size = 96
    config.model.scan = _SIGLIP["scan"]
    config.model.siglip.update({k: v for k, v in _SIGLIP.items() if k != "scan"})
    config.model.siglip.update({"image_size": 42, "patch_size": 6, "max_tokens": 9})
    config.model.sam.update(
        {
            "width": 32,
            "depth": 4,
            "num_heads": 4,
            "global_layers": (1, 3),
            "mlp_dim": 64,
            "window": 4,
            "features": 32,
            "mask_channels": 8,
            "decoder_heads": 4,
            "decoder_mlp_dim": 64,
            "iou_hidden": 32,
        }
    )
    config.model.lora.update({"rank": 4, "alpha": 2.0, "dropout": 0.0})
    return config


def make_rsrefseg(dtype: Any = "float32") -> nn.Module:
    config = rsrefseg_config()
    config.model.dtype = jnp.dtype(dtype).name
    return registry.build(config).network()


def make_rsrefseg2(**types: Any) -> nn.Module:
    def lora(part: str) -> Lora:
        return Lora(rank=4, alpha=2, layers=rsrefseg2_config.ADAPTED[part])

    return rsrefseg2.RsRefSeg2(
        siglip=Siglip(image_size=64, patch_size=8, lora=lora("siglip"), **_SIGLIP, **types),
        sam2=Sam2(lora=lora("sam2"), **_SAM2, **types),
        prompter=prompter.Prompter(
            grid=8, prompt_dim=32, num_prompts=5, num_heads=4, inner=16, mlp_dim=40, **types
        ),
    )


def make_rs2sam2(attend_padding: bool = False, **types: Any) -> nn.Module:
    return rs2sam2.Rs2Sam2Network(
        beit3=Beit3(**recordings.FIELDS["beit3_tiny"], **types),
        sam2=rs2sam2.FusedSam2(**_SAM2, **types),
        attend_padding=attend_padding,
    )


@dataclasses.dataclass(frozen=True)
class Recording:
    """A network, its variables, what went in and what was recorded."""

    network: nn.Module
    variables: dict
    arrays: dict[str, np.ndarray]
    images: dict[str, np.ndarray]
    text: dict[str, np.ndarray]


def load(
    name: str, network: nn.Module, table: list[Rule], skips: list[Skip], **extra: np.ndarray
) -> Recording:
    """Reads a recording.

    Args:
      name: such as "rsrefseg2_small".
      network: of its size.
      table: where its weights lie.
      skips: which are left out.
      **extra: weights that the recording does not hold, dots written as two underscores.
    """
    arrays = dict(np.load(recordings.GOLDENS / f"{name}.npz"))
    seed = int(arrays["seed"])
    weights = seeded_weights.seeded_state_dict(recordings.GOLDENS / f"manifest_{name}.json", seed)
    weights |= {key.replace("__", "."): value for key, value in extra.items()}
    image = seeded_weights.seeded_image(tuple(arrays["image_shape"]), seed)
    ids = arrays["token_ids"].astype(np.int32)
    if "text_image_shape" in arrays:
        small = seeded_weights.seeded_image(tuple(arrays["text_image_shape"]), seed + 1000)
        images = {"image": image, "text_image": small}
        text = {"input_ids": ids, "attention_mask": arrays["attention_mask"].astype(np.int32)}
    else:
        images = {"image": np.float32(0.5) + np.float32(0.25) * image}
        text = {"input_ids": ids, "attention_mask": np.ones_like(ids)}  # padding as published
    variables = import_variables(network, weights, table, skips, images, text)
    return Recording(network, variables, arrays, images, text)


def import_variables(network, weights, table, skips, images, text) -> dict:
    shapes = jax.eval_shape(network.init, jax.random.key(0), images, text)
    flat, _ = import_weights(weights, table, skips, traverse_util.flatten_dict(shapes, sep="/"))
    return traverse_util.unflatten_dict(flat, sep="/")


def load_rsrefseg() -> Recording:
    skips = rsrefseg_weights.SKIPS
    return load("rsrefseg_small", make_rsrefseg(), rsrefseg_weights.table(), skips)


def load_rsrefseg2() -> Recording:
    table = rsrefseg2_weights.table(rsrefseg2_config.get_config().model)
    return load(
        "rsrefseg2_small",
        make_rsrefseg2(),
        table.rules,
        table.skips,
        decode_head__logit_scale2=np.float32(np.log(1 / 0.07)),
        decode_head__logit_bias2=np.full(1, np.log(0.5), np.float32),
    )


def load_rs2sam2() -> Recording:
    network = make_rs2sam2(attend_padding=True)
    return load("rs2sam2_small", network, rs2sam2_weights.table(), rs2sam2_weights.SKIPS)


@functools.cache
def _program(network: nn.Module) -> Any:
    def method(network, images, text):
        image, phrase = network.encode_image(images), network.encode_text(text)
        outputs = network.segment(image, phrase)
        return {"image": image, "text": phrase, "log_odds": outputs.log_odds, **outputs.aux}

    return jax.jit(
        functools.partial(
            network.apply, method=method, capture_intermediates=True, mutable="intermediates"
        )
    )


def run(golden: Recording, text: dict[str, np.ndarray] | None = None) -> tuple[dict, dict]:
    """Runs a recording's network, compiled once.

    Args:
      golden: the recording.
      text: other phrases of the same shape; None for the recorded ones.

    Returns:
      Encoded images, encoded text and results of `segment` by name, "log_odds" among them; and the
      outputs of all modules by path.
    """
    program = _program(golden.network)
    outputs, inner = program(golden.variables, golden.images, text or golden.text)
    flat = traverse_util.flatten_dict(inner["intermediates"], sep="/")
    return outputs, {path.removesuffix("/__call__"): calls[0] for path, calls in flat.items()}


def check_padding(golden: Recording, real: int = 4) -> dict:
    """Checks that what stands behind a phrase's end is not seen where a mask says so.

    Returns:
      The outputs of the phrases of `real` tokens.
    """
    ids = golden.text["input_ids"]
    inside = (np.arange(ids.shape[1]) < real)[None].astype(np.int32)
    mask = np.broadcast_to(inside, ids.shape)
    outputs, _ = run(golden, {"input_ids": ids, "attention_mask": mask})
    other_ids = np.where(mask, ids, (ids + 7) % 100)
    others, _ = run(golden, {"input_ids": other_ids, "attention_mask": mask})
    np.testing.assert_array_equal(outputs["log_odds"], others["log_odds"])
    shorter, _ = run(golden, {"input_ids": ids, "attention_mask": np.roll(mask, -1, axis=1)})
    assert np.abs(shorter["log_odds"] - outputs["log_odds"]).max() > 1e-3
    return outputs


def check_unsized_batches(model: Model) -> None:
    """Checks that a model's parts take a batch of a size that is not known yet, as bundles do."""
    size = jax.export.symbolic_shape("b")

    def call(method: str, *inputs: Any) -> Any:
        return jax.eval_shape(
            functools.partial(model.network().apply, method=method), model.shapes(), *inputs
        )

    images, text = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(size + x.shape[1:], x.dtype), model.sample_shapes()
    )
    outputs = call("segment", call("encode_image", images), call("encode_text", text))
    side = model.inputs().target_size
    assert outputs.log_odds.shape == (*size, side, side)
