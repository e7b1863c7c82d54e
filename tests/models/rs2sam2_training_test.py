"""RS2-SAM2's recorded optimisation steps in float64, and what its training rests on."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import traverse_util

from rrsis_jax.configs import default
from rrsis_jax.models import published, registry
from rrsis_jax.models.backbones import encoders
from rrsis_jax.models.backbones.sam2 import config as sam2_config
from rrsis_jax.models.backbones.sam2.network import Sam2
from rrsis_jax.models.rs2sam2 import boundary, groups
from rrsis_jax.training import optim
from rrsis_jax.weights import conversion, trees
from rrsis_jax.weights.mapping import export_weights
from tests.goldens import seeded_weights
from tests.models import foundation_models, trajectories

NEVER_CALLED = {  # published names without a parameter here, and their shapes
    "meo_linear.weight": (32, 32),
    "meo_linear.bias": (32,),
    "mm_extractor.beit3.vision_embed.mask_token": (1, 1, 32),
}
ROUND_OFF = 1e-12  # a gradient that vanishes in exact arithmetic stays below this on both sides


@pytest.fixture(scope="module")
def arrays(goldens):
    return dict(np.load(goldens / "rs2sam2_small_train64.npz"))


@pytest.fixture(scope="module")
def weights(goldens, arrays):
    manifest = goldens / "manifest_rs2sam2_small.json"
    return seeded_weights.seeded_state_dict(manifest, int(arrays["seed"]))


def recorded_config(arrays):
    """The configuration of the recorded network and its training."""
    config = default.get_config("rs2sam2")
    recorded = foundation_models.make_rs2sam2()
    config.data.image_size = recorded.sam2.image_size
    for section, part in (
        (config.model.beit3, recorded.beit3),
        (config.model.sam2, recorded.sam2),
    ):
        section.update({key: getattr(part, key) for key in section if hasattr(part, key)})
        section.pretrained = ""
    config.model.beit3.max_tokens = int(arrays["text_lengths"].max())
    config.model.scan = True  # compiles in less time
    config.optim.learning_rate = float(arrays["lr"])
    config.optim.groups.fast_rate = float(arrays["lr_fast"] / arrays["lr"])
    config.optim.weight_decay = float(arrays["weight_decay"])
    return config


@pytest.fixture(scope="module")
def model(arrays):
    return registry.build(recorded_config(arrays))


@pytest.fixture(scope="module")
def shapes(model):
    return model.shapes()


def batches_of(arrays):
    """The recorded batches of one sample."""
    shapes = {
        name: tuple(arrays[key])
        for name, key in (("image", "image_shape"), ("text_image", "text_image_shape"))
    }
    lengths = arrays["text_lengths"]
    for index in range(int(arrays["num_batches"])):
        seed = 100 * int(arrays["seed"]) + index
        words = np.random.Generator(np.random.Philox(key=[seed, 2]))
        ids = words.integers(5, 120, (1, lengths[0])).astype(np.int32)
        ids[:, 0], ids[:, -1] = 0, 2
        images = {
            name: seeded_weights.seeded_image(shape, seed + extra).astype(float)
            for extra, (name, shape) in zip((0, 1000), shapes.items(), strict=True)
        }
        yield {
            "images": images,
            "text": {"input_ids": ids, "attention_mask": np.ones_like(ids)},
            "target": trajectories.square_target(seed, shapes["image"]),
        }


class Raveled:
    """Stands for a model whose parameters are one vector for each of its groups.

    AdamW knows no neighbours, so vectors change as their parts would; updating hundreds of small
    arrays takes most of the time that a step compiles.
    """

    def __init__(self, model, params):
        flat = traverse_util.flatten_dict(params)
        self.specs = {path: x.shape for path, x in flat.items()}
        self.groups = {path: model.param_group(path) for path in flat}
        self.names = {group: f"rate_{group.rate}" for group in set(self.groups.values())}

    def param_group(self, path):
        return next(group for group, name in self.names.items() if path == (name,))

    def _paths(self, group):
        return [path for path, own in self.groups.items() if own == group]

    def ravel(self, tree):
        flat = traverse_util.flatten_dict(tree)
        return {
            name: np.concatenate([np.ravel(flat[path]) for path in self._paths(group)])
            for group, name in self.names.items()
        }

    def unravel(self, vectors):
        flat = {}
        for group, name in self.names.items():
            paths = self._paths(group)
            ends = np.cumsum([math.prod(self.specs[path]) for path in paths])
            parts = np.split(np.asarray(vectors[name]), ends[:-1])
            flat |= {
                path: x.reshape(self.specs[path]) for path, x in zip(paths, parts, strict=True)
            }
        return traverse_util.unflatten_dict(flat)


def make_step(model, frozen):
    """Returns the compiled (trained parameters, batch) → loss, terms, outputs, gradients."""
    network, scales = model.network(), model.loss_scales()

    def loss_of(trained, batch):
        variables = {"params": trees.join(trained, frozen)}
        outputs = network.apply(variables, batch["images"], batch["text"], train=True)
        sums, weights = model.loss_sums(outputs, batch, lambda x: x), model.loss_weights(batch)
        terms = {name: sums[name] / weights[name] for name in scales}
        loss = sum(scale * terms[name] for name, scale in scales.items())
        seen = {name: outputs.aux[name] for name in ("mask_logits", "all_masks", "sentence_weight")}
        return loss, (terms, seen)

    return jax.jit(jax.value_and_grad(loss_of, has_aux=True))


@pytest.fixture(scope="module")
def run(arrays, weights):
    """All recorded steps; gradients of the first and parameters of the last by published names."""
    batches = list(batches_of(arrays))
    with jax.enable_x64(True):
        config = recorded_config(arrays)
        config.model.dtype = "float64"
        model = registry.build(config)
        variables, _ = published.import_state_dict(weights, model)
        trained, frozen = optim.split_frozen(variables["params"], model)
        step, raveled = make_step(model, frozen), Raveled(model, trained)
        schedule = optax.constant_schedule(config.optim.learning_rate)
        optimizer = optim.build_optimizer(config.optim, schedule, raveled)
        vectors = raveled.ravel(trained)
        state, history = optimizer.init(vectors), []
        for index in range(int(arrays["steps"])):
            batch = batches[index % len(batches)]
            history.append(jax.device_get(step(raveled.unravel(vectors), batch)))
            updates, state = optimizer.update(raveled.ravel(history[-1][1]), state, vectors)
            vectors = optax.apply_updates(vectors, updates)
        last = raveled.unravel(vectors)
        (_, (_, after)), _ = step(last, batch)
        nothing = jax.tree.map(np.zeros_like, variables["params"])
        of_first, of_last = (
            published.export_state_dict({"params": tree}, model)[0]
            for tree in (trees.join(nothing, history[0][1]), trees.join(last, frozen))
        )
    optimised = len(jax.tree.leaves(trained))
    steps = [{"loss": loss, **terms} for (loss, (terms, _)), _ in history]
    return steps, of_first, optimised, of_last, history[0][0][1][1], after


def test_losses_of_six_steps(run, arrays):
    for ours, theirs in (
        ("loss", "losses"),
        ("cross_entropy", "loss_ce"),
        ("dice", "loss_dice"),
        ("boundary", "loss_boundary"),
    ):
        values = [step[ours] for step in run[0]]
        np.testing.assert_allclose(values, arrays[theirs], rtol=1e-7, err_msg=ours)


def test_gradient_norms_of_the_first_step(run, arrays):
    _, ours, optimised, *_ = run
    recorded = zip(arrays["grad_names"], arrays["grad_norms"], arrays["grad_is_none"], strict=True)
    norms = {name: norm for name, norm, absent in recorded if not absent}
    assert len(norms) == optimised  # what has a gradient is exactly what we optimise
    for name, norm in norms.items():
        assert abs(np.linalg.norm(ours[name]) - norm) <= 1e-6 * norm + ROUND_OFF, name


def test_the_model_before_and_after_six_steps(run, arrays, weights):
    *_, ours, before, after = run
    sampled = (slice(None), slice(None, None, 2), slice(None, None, 2))
    for outputs, logits, masks, words in (
        (before, "mask_logits_step0", "all_masks_step0", "sentence_weight_step0"),
        (after, "eval_mask_logits_after", "eval_all_masks_after", "eval_sentence_weight_after"),
    ):
        np.testing.assert_allclose(
            outputs["mask_logits"][sampled][..., None], arrays[logits], atol=1e-6
        )
        np.testing.assert_allclose(outputs["all_masks"], arrays[masks], atol=1e-6)
        np.testing.assert_allclose(outputs["sentence_weight"], arrays[words], atol=1e-6)
    absent = set(arrays["grad_names"][arrays["grad_is_none"]])
    frozen = weights.keys() - set(arrays["grad_names"])
    assert any("lvfusion_module" in name for name in absent)
    assert any("attn.qkv" in name for name in frozen)
    for name in absent - NEVER_CALLED.keys() | frozen:
        np.testing.assert_array_equal(ours[name], weights[name], err_msg=name)


def test_two_rates_and_decay_are_the_recorded_ones(model, shapes, arrays):
    table, fast = (
        model.table(),
        dict(zip(arrays["grad_names"], arrays["in_fast_group"], strict=True)),
    )
    for path, spec in traverse_util.flatten_dict(shapes["params"]).items():
        group = model.param_group(path)
        if group is not None:
            ours = "/".join(("params", *path))
            empty = np.broadcast_to(np.float32(0), spec.shape)
            (name,) = export_weights({ours: empty}, table.rules, {ours: spec})
            assert (group.rate, group.decay) == (2.0 if fast[name] else 1.0, 1.0), name


def test_names_are_the_published_ones_with_and_without_their_prefix(run, model, shapes, weights):
    ours, recorded = ({name: x.shape for name, x in names.items()} for names in (run[3], weights))
    assert ours == recorded | NEVER_CALLED
    assert registry.recognised(run[3]) == "rs2sam2"
    of_training = {f"module.evf_model.{name}": x for name, x in run[3].items()}
    of_training["module.evf_model.visual_model.memory_encoder.out_proj.weight"] = np.zeros(1)
    first, second = (
        conversion.import_state_dict(names, model.table(), shapes)[0]
        for names in (run[3], of_training)
    )
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_the_published_network_has_its_parameters_and_optimises_those_with_a_gradient():
    """927.3 million, 714.6 million trained, less the one layer that it never calls (1024 → 256)."""
    config = default.get_config("rs2sam2")
    config.data.image_size = 1024
    model = registry.build(config)
    shapes = traverse_util.flatten_dict(model.shapes()["params"])
    sizes = {path: math.prod(spec.shape) for path, spec in shapes.items()}
    frozen = {
        path for path in sizes if groups.is_encoder(path) or path == ("sam2", "positions", "matrix")
    }
    trained = sum(size for path, size in sizes.items() if path not in frozen)
    never_called = 256 * 1024 + 256
    assert sum(sizes.values()) == 927_307_371 - never_called
    assert trained == 714_603_835 - never_called
    optimised = {path for path in sizes if model.param_group(path) is not None}
    dead = sizes.keys() - frozen - optimised
    assert sorted({path[: 5 if "trunk" in path else 3] for path in dead}) == [
        ("sam2", "mask_decoder", "iou_head"),
        ("sam2", "mask_decoder", "object_head"),
        *(("sam2", "prompt_encoder", f"label_{label}") for label in range(4)),
        ("sam2", "prompt_encoder", "no_mask"),
        ("sam2", "prompt_encoder", "not_a_point"),
        *(("sam2", "trunk", "blocks_47", "space_adapter", x) for x in ("text_out", "text_reads")),
    ]
    assert sum(sizes[path] for path in optimised) == trained - sum(sizes[path] for path in dead)


def test_the_image_encoder_may_learn_at_a_rate_of_its_own(arrays):
    config = recorded_config(arrays)
    config.optim.groups.sam2_encoder = 0.1
    model = registry.build(config)
    block = ("sam2", "trunk", "blocks_0")
    assert model.param_group((*block, "attn", "qkv", "kernel")).rate == 0.1
    assert model.param_group((*block, "space_adapter", "fc1", "kernel")).rate == 2.0
    assert model.param_group(("sam2", "neck", "convs_0", "kernel")).rate == 0.1
    assert model.param_group(("sam2", "positions", "matrix")) is None


def test_encoders_start_from_their_own_weights_and_adapters_as_drawn(arrays, shapes, tmp_path):
    config = recorded_config(arrays)
    image_size = config.data.image_size
    encoder = Sam2(**sam2_config.fields(config.model.sam2), image_size=image_size)
    rng = np.random.default_rng(0)
    flat = {
        path: rng.normal(size=spec.shape).astype(np.float32)
        for path, spec in encoders.shapes(encoder).items()
    }
    variables = traverse_util.unflatten_dict(flat, sep="/")
    encoders.save(encoder, variables, tmp_path / "sam2.safetensors")
    config.model.sam2.pretrained = str(tmp_path / "sam2.safetensors")
    (part,) = registry.build(config).parts()
    assert part.path == ("sam2",)
    loaded, report = part.load(part.source, shapes["params"]["sam2"])
    jax.tree.map(np.testing.assert_array_equal, loaded, variables["params"])
    ours, theirs = map(traverse_util.flatten_dict, (shapes["params"]["sam2"], loaded))
    drawn = ours.keys() - theirs.keys()
    assert {path[2] for path in drawn} == groups.ADAPTERS
    assert str(report).count("stays initialised") == len(drawn)


def test_bundles_take_batches_of_any_size(model):
    foundation_models.check_unsized_batches(model)


def test_edges_are_steps_downwards_and_to_the_right():
    mask = jnp.array([[[0.0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0]]])
    np.testing.assert_array_equal(
        boundary.edges(mask), [[[0, 0, 0, 0], [0, 2, 1, 1], [0, 1, 0, 1]]]
    )


def test_the_boundary_loss_trains_the_weight_alone():
    logits = jnp.array([[[-1.0, 2.0], [-1.0, 0.5]]])
    target = np.array([[[0, 0], [1, 1]]], np.uint8)
    weight = jnp.array([3.0])

    def total(logits, weight):
        return jnp.sum(boundary.boundary_loss(logits, target, weight))

    value, (of_logits, of_weight) = jax.value_and_grad(total, argnums=(0, 1))(logits, weight)
    # edges of the mask: (0, 1; 0, 1), of the target (0, 0; 1, 1)
    np.testing.assert_allclose(value, 9.0 * 2 / 4)
    np.testing.assert_array_equal(of_logits, 0.0)
    np.testing.assert_allclose(of_weight, [6.0 * 2 / 4])


def test_a_width_that_adapters_cannot_have_is_refused(arrays):
    config = recorded_config(arrays)
    config.model.sam2.embed_dim = 24
    config.model.beit3.max_tokens = 39
    with pytest.raises(
        ValueError,
        match=r"max_tokens is 39; it must be at most 38[\s\S]*embed_dim is 24; it must be a "
        "multiple of 16, for the 4 heads",
    ):
        registry.build(config)
