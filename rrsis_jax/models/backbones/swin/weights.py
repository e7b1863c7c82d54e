"""Pretrained Swin encoders: the official `.pth` layout and Hugging Face folders."""

import pathlib
import re
from collections.abc import Mapping

import flax.traverse_util
import numpy as np

from rrsis_jax.models.layers import interpolation
from rrsis_jax.types import Params
from rrsis_jax.weights import sources, state_dicts
from rrsis_jax.weights.mapping import (
    CONV,
    Report,
    Resize,
    Row,
    Rule,
    Skip,
    import_weights,
    linear,
    norm,
    strip_prefix,
)

BACKBONE = "params/backbone"
BLOCK = "layers_{i}/blocks_{j}"

SWIN_SKIPS = [
    Skip(r"(.*\.)?relative_position_index", "index buffer, recomputed"),
    Skip(r"(.*\.)?attn_mask", "mask buffer, recomputed"),
]


def swin_rules(prefix: str = "", resize: Resize | None = None) -> list[Rule]:
    """Returns the rules of a plain Swin encoder.

    Args:
      prefix: what precedes the foreign names, as "backbone.".
      resize: what to do with position tables of another window size.
    """
    theirs, ours = prefix + "layers.{i}.blocks.{j}", f"{BACKBONE}/{BLOCK}"
    table = "attn.relative_position_bias_table"
    return [
        *linear(f"{prefix}patch_embed.proj", f"{BACKBONE}/patch_embed/proj", transform=CONV),
        *norm(f"{prefix}patch_embed.norm", f"{BACKBONE}/patch_embed/norm"),
        *norm(f"{theirs}.norm1", f"{ours}/norm1"),
        *norm(f"{theirs}.norm2", f"{ours}/norm2"),
        *linear(f"{theirs}.attn.qkv", f"{ours}/attn/qkv"),
        *linear(f"{theirs}.attn.proj", f"{ours}/attn/proj"),
        Rule(f"{theirs}.{table}", f"{ours}/{table.replace('.', '/')}", resize=resize),
        *linear(f"{theirs}.mlp.fc1", f"{ours}/mlp/fc1"),
        *linear(f"{theirs}.mlp.fc2", f"{ours}/mlp/fc2"),
        *linear(
            prefix + "layers.{i}.downsample.reduction",
            BACKBONE + "/layers_{i}/downsample/reduction",
            bias=False,
        ),
        *norm(prefix + "layers.{i}.downsample.norm", BACKBONE + "/layers_{i}/downsample/norm"),
    ]


_SKIPS = [
    *SWIN_SKIPS,
    Skip(r"head\..*", "the classification head is not used"),
    Skip(r"classifier\..*", "the classification head is not used"),
    Skip(r"norm\.(weight|bias)", "each stage has a norm of its own"),
]
# Parts of our backbone that a Swin classifier has not.
_OWN_PARTS = re.compile(r"params/backbone/(layers_\d+/(fusion|gate)/|norm\d+/).*")

# Hugging Face's names within an encoder, and the official ones. Query, key and value are joined.
_HUGGING_FACE_NAMES = [
    (r"embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"embeddings\.norm\.", "patch_embed.norm."),
    (r"encoder\.layers\.", "layers."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.self\.relative", ".attn.relative"),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"^layernorm\.", "norm."),
]
_QUERY_KEY_VALUE = re.compile(r"(.*)\.attention\.self\.(query|key|value)\.(weight|bias)")


def load(path: str | pathlib.Path, shapes: Params) -> tuple[Params, Report]:
    """Reads the parameters of a pretrained Swin.

    Args:
      path: a .pth or .safetensors file in the official layout, or a Hugging Face folder, or either
        on the hub, see `sources.find`.
      shapes: nested dictionaries of `jax.ShapeDtypeStruct`, those of `params["backbone"]`.

    Returns:
      The part of them that a Swin has, as NumPy arrays, to be laid over initialised parameters
      (fusion, gates and stage norms are not in it); and what went where and what stays.

    Raises:
      ValueError: if the file cannot be read, or does not fit; all differences are listed.
    """
    state_dict = strip_prefix(state_dicts.read_state_dict(sources.find(path).path), "swin.")
    if any(name.startswith("encoder.layers.") for name in state_dict):
        state_dict = official_names(state_dict)
    backbone = flax.traverse_util.flatten_dict({"params": {"backbone": shapes}}, sep="/")
    stays = [path for path in backbone if _OWN_PARTS.fullmatch(path)]
    expected = {path: spec for path, spec in backbone.items() if path not in stays}
    rules = swin_rules(resize=interpolate_position_table)
    loaded, report = import_weights(state_dict, rules, _SKIPS, expected)
    report.rows += [Row("-", path, "stays initialised") for path in stays]
    return flax.traverse_util.unflatten_dict(loaded, sep="/")["params"]["backbone"], report


def official_names(state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Renames a Hugging Face Swin's weights to the official layout, joining q, k and v."""
    renamed, joined = {}, {}
    for name, value in state_dict.items():
        split = _QUERY_KEY_VALUE.fullmatch(name)
        if split:
            block, part, leaf = split.groups()
            joined.setdefault((block, leaf), {})[part] = value
            continue
        renamed[_official_name(name)] = value
    for (block, leaf), parts in joined.items():
        if len(parts) < 3:  # stays as it is, so that the mapping reports it
            names = {f"{block}.attention.self.{part}.{leaf}": x for part, x in parts.items()}
            renamed |= names
            continue
        name = _official_name(f"{block}.attn.qkv.{leaf}")
        renamed[name] = np.concatenate([parts[part] for part in ("query", "key", "value")])
    return renamed


def interpolate_position_table(
    table: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, str] | None:
    """Interpolates a relative position table bicubically to another window size.

    Args:
      table: ((2v − 1)², heads) of windows of side v.
      shape: ((2w − 1)², heads) that the model needs.

    Returns:
      The table of the new shape with a note, or None where the sizes are no such squares or the
      heads differ.
    """
    if table.ndim != 2 or table.shape[1] != shape[1]:
        return None
    side, new_side = round(table.shape[0] ** 0.5), round(shape[0] ** 0.5)
    if side**2 != table.shape[0] or side % 2 == 0:
        return None
    matrix = interpolation.matrix(side, new_side, "cubic")
    grid = table.astype(np.float64).reshape(side, side, -1)
    resized = np.einsum("ri,cj,ijh->rch", matrix, matrix, grid, optimize=True)
    note = f"window {(side + 1) // 2} interpolated to {(new_side + 1) // 2}"
    return resized.reshape(shape).astype(table.dtype), note


def _official_name(name: str) -> str:
    for pattern, replacement in _HUGGING_FACE_NAMES:
        name = re.sub(pattern, replacement, name)
    return name
