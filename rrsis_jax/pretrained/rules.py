"""Where every weight of the reference implementations lives in our tree, as data.

Foreign names are those of the state dicts that the authors publish. Names that exist there and
are never called are listed as skips, with the reason.
"""

import numpy as np

from rrsis_jax.pretrained.mapping import (
    CONV,
    POINTWISE,
    Resize,
    Rule,
    Skip,
    linear,
    norm,
)

BACKBONE = "params/backbone"
TEXT = "params/text_encoder/bert"
BLOCK = "layers_{i}/blocks_{j}"

SWIN_SKIPS = [
    Skip(r"(.*\.)?relative_position_index", "index buffer, recomputed"),
    Skip(r"(.*\.)?attn_mask", "mask buffer, recomputed"),
]
BERT_SKIPS = [
    Skip(r"(.*\.)?pooler\..*", "the pooler is not used"),
    Skip(r"(.*\.)?position_ids", "index buffer, recomputed"),
]
DECODER_SKIPS = [Skip(r"(.*\.)?num_batches_tracked", "counter, not used")]
LGCE_SKIPS = [
    Skip(r"classifier\.msb[23]\..*", "this block is never called"),
    Skip(r"classifier\.lg_layer[12]\..*", "this guide layer is never called"),
    Skip(r"classifier\.msb1\.patch_embed\..*", "this patch embedding is never called"),
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


def fusion_rules() -> list[Rule]:
    """Returns the rules of pixel-word attention, gates and stage norms of LAVT and LGCE."""
    theirs, ours = "backbone.layers.{i}", BACKBONE + "/layers_{i}"
    projections = {
        "vis_project.0": "vis_project",
        "image_lang_att.f_query.0": "query",
        "image_lang_att.f_key.0": "key",
        "image_lang_att.f_value.0": "value",
        "image_lang_att.W.0": "out",
        "project_mm.0": "project_mm",
    }
    rules = [
        *linear(f"{theirs}.res_gate.0", f"{ours}/gate/fc1", bias=False),
        *linear(f"{theirs}.res_gate.2", f"{ours}/gate/fc2", bias=False),
        *norm("backbone.norm{i}", BACKBONE + "/norm{i}"),
    ]
    for foreign, own in projections.items():
        rules += linear(f"{theirs}.fusion.{foreign}", f"{ours}/fusion/{own}", transform=POINTWISE)
    return rules


def lavt_decoder_rules(decoder: str = "decoder") -> list[Rule]:
    """Returns the rules of LAVT's decoder.

    Args:
      decoder: path of the decoder in our tree.
    """
    rules = linear("classifier.conv1_1", f"params/{decoder}/classifier", transform=CONV)
    for coarse in (4, 3, 2):
        for block in (1, 2):
            own = f"{decoder}/join_c{coarse - 1}/block{block}"
            foreign = f"classifier.bn{block}_{coarse}"
            rules += linear(
                f"classifier.conv{block}_{coarse}",
                f"params/{own}/conv",
                bias=False,
                transform=CONV,
            )
            rules += norm(foreign, f"params/{own}/bn")
            rules += [
                Rule(f"{foreign}.running_mean", f"batch_stats/{own}/bn/mean"),
                Rule(f"{foreign}.running_var", f"batch_stats/{own}/bn/var"),
            ]
    return rules


def lgce_decoder_rules() -> list[Rule]:
    """Returns the rules of LGCE's decoder: guides, cross-scale block, LAVT's decoder."""
    theirs, ours = "classifier.msb1.msb", "params/decoder/cross_scale"
    rules = [
        *linear("classifier.lg_layer3", "params/decoder/guide_c3"),
        *linear("classifier.lg_layer4", "params/decoder/guide_c4"),
        *lavt_decoder_rules("decoder/lavt"),
    ]
    for scale, name in enumerate(("fine", "coarse")):
        foreign, own = f"{theirs}.blocks.{scale}." + "{i}", f"{ours}/{name}_blocks_" + "{i}"
        rules += [
            *norm(f"{foreign}.norm1", f"{own}/norm1"),
            *linear(f"{foreign}.attn.qkv", f"{own}/attn/qkv", bias=False),
            *linear(f"{foreign}.attn.proj", f"{own}/attn/proj"),
            *norm(f"{foreign}.norm2", f"{own}/norm2"),
            *linear(f"{foreign}.mlp.fc1", f"{own}/mlp/fc1"),
            *linear(f"{foreign}.mlp.fc2", f"{own}/mlp/fc2"),
        ]
    for scale, name in enumerate(("fine_to_coarse", "coarse_to_fine")):
        own, fusion = f"{ours}/{name}", f"{theirs}.fusion.{scale}.0"
        rules += [
            *norm(f"{theirs}.projs.{scale}.0", f"{own}/go/norm"),
            *linear(f"{theirs}.projs.{scale}.2", f"{own}/go/linear"),
            *norm(f"{fusion}.norm1", f"{own}/norm"),
            *linear(f"{fusion}.attn.wq", f"{own}/attn/query", bias=False),
            *linear(f"{fusion}.attn.wk", f"{own}/attn/key", bias=False),
            *linear(f"{fusion}.attn.wv", f"{own}/attn/value", bias=False),
            *linear(f"{fusion}.attn.proj", f"{own}/attn/proj"),
            *norm(f"{theirs}.revert_projs.{scale}.0", f"{own}/back/norm"),
            *linear(f"{theirs}.revert_projs.{scale}.2", f"{own}/back/linear"),
        ]
    return rules


def bert_rules(max_tokens: int, prefix: str = "text_encoder.") -> list[Rule]:
    """Returns the rules of BERT.

    Args:
      max_tokens: rows of the position table that are read.
      prefix: what precedes the foreign names.
    """
    rules = []
    for table in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        resize = rows_beyond(max_tokens) if table == "position_embeddings" else None
        rules.append(
            Rule(
                f"{prefix}embeddings.{table}.weight",
                f"{TEXT}/embeddings/{table}/embedding",
                resize=resize,
            )
        )
    rules += norm(f"{prefix}embeddings.LayerNorm", f"{TEXT}/embeddings/LayerNorm")
    theirs, ours = prefix + "encoder.layer.{i}", TEXT + "/encoder/layer/{i}"
    for layer in (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    ):
        rules += linear(f"{theirs}.{layer}", f"{ours}/{layer.replace('.', '/')}")
    for layer in ("attention.output.LayerNorm", "output.LayerNorm"):
        rules += norm(f"{theirs}.{layer}", f"{ours}/{layer.replace('.', '/')}")
    return rules


def rows_beyond(needed: int) -> Resize:
    """Returns a resize that cuts or zero-fills table rows that are never read.

    Args:
      needed: rows that are read; a table with fewer does not fit.
    """

    def resize(table: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, str] | None:
        rows = shape[0]
        if table.ndim != len(shape) or table.shape[1:] != shape[1:] or table.shape[0] < needed:
            return None
        came = table.shape[0]
        if came >= rows:
            return table[:rows], f"{came} rows cut to {rows}; only {needed} are read"
        filled = np.concatenate([table, np.zeros((rows - came, *shape[1:]), table.dtype)])
        return filled, f"{came} rows filled with zeros to {rows}; only {needed} are read"

    return resize
