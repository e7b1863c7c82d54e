"""RSRefSeg as a model: what is optimised, weights of all kinds, tokens, what is refused."""

import json
import math

import flax.traverse_util
import jax
import numpy as np
import pytest
import torch

from rrsis_jax.configs import default
from rrsis_jax.data.tokenizers import pieces
from rrsis_jax.models import published, registry
from rrsis_jax.models.backbones import encoders
from rrsis_jax.models.backbones.sam import config as sam
from rrsis_jax.models.backbones.siglip.tokens import folder_of
from rrsis_jax.models.rsrefseg.network import is_trained
from rrsis_jax.training import optim
from rrsis_jax.weights import state_dicts
from tests.conftest import PHRASES, random_variables
from tests.models import foundation_models as models
from tests.models.backbones import recordings


def small_config(**changes):
    config = default.get_config("rsrefseg")
    config.model = registry.small("rsrefseg").model
    config.data.image_size = 32
    config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module")
def model():
    """With frozen encoders, as published."""
    return registry.build(small_config())


@pytest.fixture(scope="module")
def shapes(model):
    return model.shapes()["params"]


@pytest.mark.parametrize(
    ("size", "parameters", "trained", "optimised"),
    [
        ("sam_vit_b", 984_280_930, 16_649_264, 16_478_252),
        ("sam_vit_l", 1_206_824_546, 20_585_520, 20_414_508),
    ],
)
def test_the_published_networks_have_their_parameters(size, parameters, trained, optimised):
    """984.3 and 16.6 million, 1,206.8 and 20.6 million.

    171,012 of these have no gradient: the head that judges masks, embeddings of prompts that are
    not given, the adapter of the image's pooling.
    """
    config = default.get_config("rsrefseg")
    config.data.image_size = 1024
    config.model.sam = sam.get_config(size)
    model = registry.build(config)
    flat = flax.traverse_util.flatten_dict(model.shapes()["params"])
    sizes = {path: math.prod(spec.shape) for path, spec in flat.items()}
    assert sum(sizes.values()) == parameters
    assert sum(n for path, n in sizes.items() if is_trained(path)) == trained
    groups = {path: model.param_group(path) for path in sizes}
    assert sum(n for path, n in sizes.items() if groups[path]) == optimised
    assert all(is_trained(path) for path, group in groups.items() if group)


def test_what_is_frozen_takes_no_memory_of_the_optimiser(model, shapes):
    trained, frozen = optim.split_frozen(shapes, model)
    optimizer = optim.build_optimizer(model.config.optim, lambda step: 1e-3, model)
    state = jax.tree.leaves(jax.eval_shape(optimizer.init, trained))
    moments = sum(math.prod(leaf.shape) for leaf in state if leaf.shape)
    assert moments <= 2 * sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(trained))
    assert len(jax.tree.leaves(frozen)) > 50


def test_programs_take_batches_of_any_size(model):
    models.check_unsized_batches(model)


def test_factors_let_encoders_learn_and_prompts_follow_the_switch(shapes):
    changes = {"optim.groups.siglip": 0.1, "model.prompter.dense": False}
    model = registry.build(small_config(**changes))
    groups = {path: model.param_group(path) for path in flax.traverse_util.flatten_dict(shapes)}
    assert groups["siglip", "text", "layers_0", "mlp", "fc1", "kernel"].rate == 0.1
    assert groups["siglip", "logit_scale"].rate == 0.1
    assert groups["siglip", "text", "head", "lora_a"].rate == 1.0
    assert groups["siglip", "vision", "head", "probe"] is None
    assert groups["sam", "image_encoder", "pos_embed"] is None
    assert groups["sam", "positions", "matrix"] is None
    assert groups["sam", "prompt_encoder", "no_mask"].rate == 1.0
    assert groups["sam", "prompt_encoder", "mask_conv1", "kernel"] is None


def test_a_dice_loss_can_be_added():
    model = registry.build(small_config(**{"loss.dice": 0.5}))
    assert model.loss_scales() == {"cross_entropy": 5.0, "dice": 0.5}
    weights = model.loss_weights({"target": np.zeros((2, 4, 4), np.uint8)})
    assert {name: float(x) for name, x in weights.items()} == {"cross_entropy": 32.0, "dice": 2.0}


def test_exported_names_and_shapes_are_the_published_ones():
    model = registry.build(models.rsrefseg_config())
    state_dict, _ = published.export_state_dict(random_variables(model), model)
    manifest = json.loads((recordings.GOLDENS / "manifest_rsrefseg_small.json").read_text())
    counters = {name for name in state_dict if name.endswith(".num_batches_tracked")}
    assert len(counters) == 3
    assert {k: list(x.shape) for k, x in state_dict.items() if k not in counters} == manifest
    assert registry.recognised(state_dict) == "rsrefseg"


def test_checkpoints_of_the_authors_trainers_are_written_and_read(model, tmp_path):
    variables = random_variables(model)
    published.export_weights(variables, model, tmp_path / "mmengine.pth")
    content = torch.load(tmp_path / "mmengine.pth", weights_only=True)
    assert content.keys() == {"state_dict"}
    torch.save({"module": content["state_dict"], "dp_world_size": 8}, tmp_path / "deepspeed.pt")
    for name in ("mmengine.pth", "deepspeed.pt"):
        read, _ = published.import_weights(tmp_path / name, model)
        jax.tree.map(np.testing.assert_array_equal, read, variables)


def test_without_adapters_there_are_none():
    model = registry.build(small_config(**{"model.lora.rank": 0}))
    paths = flax.traverse_util.flatten_dict(model.shapes()["params"])
    assert not any("lora" in name for path in paths for name in path)
    state_dict, _ = published.export_state_dict(random_variables(model), model)
    assert not any("lora" in name or "base_layer" in name for name in state_dict)


@pytest.mark.parametrize("name", ["siglip", "sam"])
def test_pretrained_encoders_are_read_and_adapters_stay_as_they_start(
    model, shapes, name, tmp_path
):
    config = small_config(**{f"model.{name}.pretrained": str(tmp_path / "model.safetensors")})
    (part,) = registry.build(config).parts()
    network = part.load.args[0]
    plain = jax.tree.map(
        lambda x: np.random.default_rng(0).normal(size=x.shape).astype(np.float32),
        flax.traverse_util.unflatten_dict(encoders.shapes(network), sep="/"),
    )
    encoders.save(network, plain, tmp_path / "model.safetensors", "huggingface")
    loaded, report = part.load(part.source, shapes[name])
    jax.tree.map(np.testing.assert_array_equal, loaded, plain["params"])
    stays = [row.target for row in report.rows if row.note == "stays initialised"]
    adapters = [p for p in flax.traverse_util.flatten_dict(shapes[name]) if "lora" in p[-1]]
    assert len(stays) == len(adapters) > 0


def test_the_tokenizer_lies_beside_the_weights(tmp_path):
    pieces.train(PHRASES, 100, 8, "siglip").save(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.touch()
    model = registry.build(small_config(**{"model.siglip.pretrained": str(weights)}))
    assert model.tokenizer("")("red car")["input_ids"].shape == (12,)
    pieces.train([f"w{n}" for n in range(400)], 300, 8, "siglip").save(tmp_path)
    with pytest.raises(ValueError, match=r"has 300 ids, model\.siglip\.vocab_size is 192\. Set it"):
        model.tokenizer("")
    state_dicts.write_state_dict(weights, {"a": np.zeros(1, np.float32)})
    assert folder_of("hf://owner/name@main/sub/model.safetensors") == "hf://owner/name@main/sub"
    assert folder_of("hf://owner/name") == "hf://owner/name"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.siglip.num_heads": 5}, r"siglip\.num_heads is 5; it must divide siglip\.width"),
        ({"model.siglip.patch_size": 99}, r"siglip\.image_size is 42; it must hold a patch"),
        ({"model.siglip.max_tokens": 99}, r"siglip\.max_tokens is 99; it must be at most .*24"),
        ({"model.sam.num_heads": 5}, r"sam\.num_heads is 5; it must divide sam\.width \(32\)"),
        ({"model.sam.features": 20}, r"sam\.features is 20; it must be a multiple of 8 and"),
        ({"model.sam.mask_channels": 6}, r"sam\.mask_channels is 6; it must be a multiple of 4"),
        ({"model.sam.global_layers": (7,)}, r"global_layers names layer 7; the last of .* is 1"),
        ({"data.image_size": 36}, r"data\.image_size is 36; it must be a multiple of .*\(8\)"),
    ],
)
def test_values_that_do_not_fit_each_other_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        registry.build(small_config(**changes))


def test_patterns_of_layers_have_to_be_ones():
    rule = registry.rules("rsrefseg")["model.lora.layers.sam"]
    assert rule.fits("attn/(qkv|proj)")
    assert not rule.fits("attn/(qkv")
    assert not rule.fits("")
