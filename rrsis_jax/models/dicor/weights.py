"""Where every weight of the published DiCoR lies in our tree."""

import dataclasses
import functools
import re
from collections.abc import Mapping

import ml_collections
import numpy as np

from rrsis_jax.models.backbones.bert.weights import bert_rules
from rrsis_jax.models.backbones.naming import TRANSPOSED_CONV
from rrsis_jax.models.backbones.swin.weights import swin_rules
from rrsis_jax.models.dicor.refiner import LEVELS
from rrsis_jax.models.dicor.stages import GUIDE, JOINT
from rrsis_jax.models.lavt.part_rules import batch_norm, joint_scales_rules
from rrsis_jax.models.lavt.weights import (
    ENCODER_SKIPS,
    family_table,
    fusion_rules,
    lavt_decoder_rules,
)
from rrsis_jax.weights.mapping import CONV, LINEAR, Rule, Skip, WeightTable, linear, norm

SKIPS = ENCODER_SKIPS
_NAMES = {"fusion": "fusion_global"}  # LAVT's: DiCoR's
_VMSF = "backbone.VMSF"
_GUIDE, _REFINER = "backbone.localization_guidance.", "refineHead."

# Parts that the authors publish apart: foreign beginnings → ours.
_PARTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "network": (
        ("backbone.patch_embed.", "backbone.layers.", "backbone.norm", f"{_VMSF}.", "classifier."),
        ("params/backbone/", "params/decoder/", "batch_stats/decoder/"),
    ),
    "guide": ((_GUIDE,), ("params/guide/", "params/text_norm/")),
    "refiner": ((_REFINER,), ("params/refiner/", "batch_stats/refiner/")),
}
# What a file of one part calls its names: their pattern → what precedes them elsewhere.
_ALONE = {
    r"((enc|up)\d|bottleneck|out_conv)\..*": _REFINER,
    r"(evidence_head|ranker)\..*": f"{_GUIDE}module.",
    r"text_norm\..*": _GUIDE,
}
_TEXT_NORM = f"{_GUIDE}text_norm."  # the guide's stage has no use for it, its file holds it
_COARSE_BLOCK = re.compile(rf"({re.escape(_VMSF)}\.blocks\.\d+)\.((norm1|attn|norm2|ffn)\..*)")
_WORD_PARTS = ("l2v", "v2l", "lnL1", "lnL2", "lnV1", "lnV2", "ffnL", "ffnV")


def table(config: ml_collections.ConfigDict) -> WeightTable:
    """Returns how the published weights of DiCoR map onto our variables.

    A network and its text encoder, a guide and a refiner are files of their own, and each of them
    fills its part. The coarse network's file fills that part of the joint network's, too, that it
    has; see `model.mixer.carried`.

    Args:
      config: the `model` section of a configuration.
    """
    joint = config.stage == JOINT
    rules = joint_rules(config.text.max_tokens) if joint else stage_rules(config.text.max_tokens)
    skips, inert = [], {}
    if config.stage == GUIDE:
        skips = [Skip(re.escape(_TEXT_NORM) + ".*", "the norm of the joint stage's words")]
        width = config.text.hidden_size
        inert = {"weight": np.ones(width, np.float32), "bias": np.zeros(width, np.float32)}
    shared = family_table(
        config, rules, skips, inert=lambda: {_TEXT_NORM + k: x for k, x in inert.items()}
    )
    optional = {**shared.optional, **dict(_PARTS.values())}
    if joint:
        optional |= _blocks_of_words(config.mixer.depth, config.mixer.carried)
    return dataclasses.replace(
        shared,
        optional=optional,
        prepare=functools.partial(_prepared, blocks=_kept(joint, config.mixer.carried)),
        restore=_restored,
    )


def _kept(joint: bool, carried: bool) -> str | None:
    """Returns what comes between a coarse block's name and its layers'; None to leave it out."""
    if not joint:
        return ""
    return "ms_attn." if carried else None


def _blocks_of_words(depth: int, carried: bool) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Returns the part of the joint network that the coarse network's file lacks."""
    theirs = (*_WORD_PARTS, *(() if carried else ("ms_attn",)))
    ours = ("words_", "image_", *(() if carried else ("scales/",)))
    return {
        tuple(f"{_VMSF}.blocks.{i}.{name}." for i in range(depth) for name in theirs): tuple(
            f"params/decoder/mixer/blocks_{i}/{name}" for i in range(depth) for name in ours
        )
    }


def _prepared(state_dict: Mapping[str, np.ndarray], blocks: str | None) -> dict[str, np.ndarray]:
    """Gives names of single files those that they have in the whole.

    Args:
      state_dict: foreign name → array, without a leading "module.".
      blocks: what the layers of a coarse block come below in its joint one; None to leave them out.
    """
    prepared = {}
    for name, value in state_dict.items():
        block = _COARSE_BLOCK.fullmatch(name)
        if block and blocks is None:
            continue
        if block:
            name = f"{block[1]}.{blocks}{block[2]}"
        prefix = next((own for alone, own in _ALONE.items() if re.fullmatch(alone, name)), "")
        prepared[prefix + name] = value
    return prepared


def _restored(state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Gives the names of a guide or a refiner alone those of its published file."""
    for prefix in (_GUIDE, _REFINER):
        if all(name.startswith(prefix) for name in state_dict):
            return {name.removeprefix(prefix): value for name, value in state_dict.items()}
    return dict(state_dict)


def stage_rules(max_tokens: int) -> list[Rule]:
    """Returns the rules of the coarse network, and of the guide and refiner trained beside it."""
    return [*coarse_rules(max_tokens), *guide_rules(_GUIDE), *refiner_rules(_REFINER)]


def coarse_rules(max_tokens: int) -> list[Rule]:
    """Returns the rules of the coarse network.

    Args:
      max_tokens: rows of BERT's position table that are read.
    """
    return [*_shared_rules(max_tokens), *_scale_block_rules("", "")]


def joint_rules(max_tokens: int) -> list[Rule]:
    """Returns the rules of the network that guides and refines.

    Args:
      max_tokens: rows of BERT's position table that are read.
    """
    return [
        *_shared_rules(max_tokens),
        *_scale_block_rules(".ms_attn", "/scales"),
        *_word_block_rules(),
        *guide_rules(_GUIDE),
        *refiner_rules(_REFINER),
    ]


def _shared_rules(max_tokens: int) -> list[Rule]:
    """Returns the rules of all but the mixer's blocks."""
    return [
        *swin_rules("backbone."),
        *(_renamed(rule, _NAMES) for rule in fusion_rules()),
        *(
            _renamed(rule, {"fusion": "fusion_gates"})
            for rule in joint_scales_rules(_VMSF, "decoder/scales")
        ),
        *lavt_decoder_rules("decoder/lavt"),
        *bert_rules(max_tokens),
    ]


def _renamed(rule: Rule, names: dict[str, str]) -> Rule:
    """Returns a rule with another name of a published part."""
    source = ".".join(names.get(part, part) for part in rule.source.split("."))
    return dataclasses.replace(rule, source=source)


def _scale_block_rules(theirs: str, ours: str) -> list[Rule]:
    """Returns the rules of self-attention blocks, which may lie deeper in a block."""
    theirs, ours = f"{_VMSF}.blocks.{{i}}{theirs}", f"params/decoder/mixer/blocks_{{i}}{ours}"
    return [
        *norm(f"{theirs}.norm1", f"{ours}/norm1"),
        Rule(f"{theirs}.attn.in_proj_weight", f"{ours}/attention/in_kernel", LINEAR),
        Rule(f"{theirs}.attn.in_proj_bias", f"{ours}/attention/in_bias"),
        *linear(f"{theirs}.attn.out_proj", f"{ours}/attention/out"),
        *norm(f"{theirs}.norm2", f"{ours}/norm2"),
        *linear(f"{theirs}.ffn.net.0", f"{ours}/mlp/fc1"),
        *linear(f"{theirs}.ffn.net.3", f"{ours}/mlp/fc2"),
    ]


def _word_block_rules() -> list[Rule]:
    """Returns the rules of what words and the joint map do to each other."""
    theirs, ours = f"{_VMSF}.blocks.{{i}}", "params/decoder/mixer/blocks_{i}"
    rules = []
    for own, attention, letter in (("words", "l2v", "L"), ("image", "v2l", "V")):
        for foreign, name in (("q", "query"), ("k", "key"), ("v", "value")):
            source = f"{theirs}.{attention}.{foreign}_proj_weight"
            rules.append(Rule(source, f"{ours}/{own}_attention/{name}_kernel", LINEAR))
        rules += [
            Rule(f"{theirs}.{attention}.in_proj_bias", f"{ours}/{own}_attention/in_bias"),
            *linear(f"{theirs}.{attention}.out_proj", f"{ours}/{own}_attention/out"),
            *norm(f"{theirs}.ln{letter}1", f"{ours}/{own}_norm1"),
            *linear(f"{theirs}.ffn{letter}.net.0", f"{ours}/{own}_mlp/fc1"),
            *linear(f"{theirs}.ffn{letter}.net.3", f"{ours}/{own}_mlp/fc2"),
            *norm(f"{theirs}.ln{letter}2", f"{ours}/{own}_norm2"),
        ]
    return rules


def guide_rules(prefix: str) -> list[Rule]:
    """Returns the rules of the guide and of the norm of the words that it weighs.

    Args:
      prefix: what precedes the foreign names.
    """
    evidence = "params/guide/evidence"
    rules = linear(f"{prefix}module.evidence_head.net.2", f"{evidence}/classifier", transform=CONV)
    for number in (0, 1):
        theirs = f"{prefix}module.evidence_head.net.{number}"
        ours = number + 1
        rules += linear(f"{theirs}.0", f"{evidence}/conv{ours}", bias=False, transform=CONV)
        rules += norm(f"{theirs}.1", f"{evidence}/norm{ours}")
    theirs, ours = f"{prefix}module.ranker", "params/guide/ranker"
    for foreign, own in (
        ("router.cand_route", "place_route"),
        ("router.text_route", "word_route"),
        ("router.text_query", "word_query"),
        ("visual_content", "visual_content"),
        ("query_content", "query_content"),
    ):
        rules += linear(f"{theirs}.{foreign}.0", f"{ours}/{own}")
        rules += norm(f"{theirs}.{foreign}.1", f"{ours}/{own}_norm")
    for foreign, own in (("router.score_mlp", "route"), ("geo_mlp", "geometry")):
        rules += linear(f"{theirs}.{foreign}.0", f"{ours}/{own}_fc1")
        rules += linear(f"{theirs}.{foreign}.2", f"{ours}/{own}_fc2")
    return [*rules, *norm(f"{prefix}text_norm", "params/text_norm")]


def refiner_rules(prefix: str) -> list[Rule]:
    """Returns the rules of the refiner.

    Args:
      prefix: what precedes the foreign names.
    """
    rules = linear(f"{prefix}out_conv", "params/refiner/classifier", transform=CONV)
    units = {f"enc{level}": f"enc{level}.{{unit}}" for level in range(1, LEVELS + 1)}
    units["bottleneck"] = "bottleneck.{unit}"
    for level in range(1, LEVELS + 1):
        units[f"dec{level}"] = f"up{level}.conv{{numbered}}"
        rules += linear(
            f"{prefix}up{level}.up", f"params/refiner/up{level}", transform=TRANSPOSED_CONV
        )
    for ours, theirs in units.items():
        for unit in (0, 1):
            foreign = prefix + theirs.format(unit=unit, numbered=unit + 1)
            own = f"refiner/{ours}_{unit}"
            rules += linear(f"{foreign}.conv", f"params/{own}/conv", bias=False, transform=CONV)
            rules += batch_norm(f"{foreign}.bn", f"{own}/bn")
    return rules
