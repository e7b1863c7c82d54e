"""DiCoR's four stages against recorded steps of the published code, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import traverse_util

from rrsis_jax.models import registry
from rrsis_jax.models.contract import Outputs
from rrsis_jax.models.dicor import candidates, guide_loss, refiner_loss, weights
from rrsis_jax.models.dicor.guide import Guide
from rrsis_jax.models.dicor.network import resized, stored_probabilities
from rrsis_jax.training import optim
from rrsis_jax.weights.mapping import export_weights, import_weights
from tests.models import family, trajectories

NAMES = {"cross_entropy": "ce", "inhibition": "inhibit"}  # ours: the recording's


@pytest.fixture(scope="module", autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def make_model(stage, learning_rate, weight_decay, **groups):
    """Returns a model of the recordings' size; its text encoder is not used."""
    config = family.tiny("dicor")
    config.data.image_size = 128
    config.model.stage, config.model.dtype = stage, "float64"
    config.model.vision.update({"depths": (2, 2, 4, 2), "window_size": 7, "drop_path_rate": 0.0})
    config.model.refiner.width = 8 if stage == "refiner" else 0
    config.optim.learning_rate, config.optim.weight_decay = learning_rate, weight_decay
    config.optim.groups.update(groups)
    return config


def imported(state_dict, rules, shapes):
    """Returns the recorded weights by our flat paths, in float64."""
    flat = traverse_util.flatten_dict(shapes, sep="/")
    wide = {path: jax.ShapeDtypeStruct(x.shape, jnp.float64) for path, x in flat.items()}
    return import_weights(state_dict, rules, weights.SKIPS, wide)[0]


def exported(collection, tree, rules):
    flat = traverse_util.flatten_dict({collection: tree}, sep="/")
    return export_weights(flat, rules, flat)


def follow(model, flat, batches, arrays, rules, forward, terms_of):
    """Trains as `training.train_step` does.

    Args:
      model: whose groups, schedule and factors of the terms count.
      flat: our path → first weights.
      batches: taken in turn.
      arrays: the recording.
      rules: from published names to our paths.
      forward: (params, batch statistics, batch, train) → (outputs, statistics).
      terms_of: (outputs, batch) → the terms of the loss.
    """
    tree = traverse_util.unflatten_dict(flat, sep="/")
    params, stats = tree["params"], tree.get("batch_stats", {})
    trained, frozen = optim.split_frozen(params, model)
    schedule = optim.build_schedule(model.config.optim, int(arrays["total_steps"]))
    optimizer = optim.build_optimizer(model.config.optim, schedule, model)
    scales = model.loss_scales()

    def loss_of(trained, stats, batch):
        outputs, stats = forward(joined(trained, frozen), stats, batch, True)
        terms = terms_of(outputs, batch)
        return sum(scales[name] * terms[name] for name in scales), (terms, outputs, stats)

    differentiate = jax.jit(jax.value_and_grad(loss_of, has_aux=True))

    @jax.jit
    def update(gradients, state, params):
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    vectors = trajectories.Vectors(trained, model.param_group)
    joint = vectors.join(trained)
    state, history, after = optimizer.init(joint), [], []
    for index in range(int(arrays["steps"])):
        batch = batches[index % len(batches)]
        (loss, (terms, outputs, stats)), gradients = differentiate(trained, stats, batch)
        joint, state = update(vectors.join(gradients), state, joint)
        trained = vectors.split(joint)
        history.append((loss, terms, outputs, gradients))
        after.append(stats)
    final = joined(trained, frozen)
    evaluate = jax.jit(lambda params, stats: forward(params, stats, batch, False)[0])
    start = exported("params", params, rules)
    end = exported("params", final, rules)
    ours = trajectories.Trajectory(
        logits_step0=np.asarray(history[0][2].aux.get("logits")),
        losses=np.array([float(seen[0]) for seen in history]),
        terms={
            NAMES.get(name, name): np.array([float(seen[1][name]) for seen in history])
            for name in scales
        },
        gradients=exported("params", history[0][3], rules),
        batch_stats=exported("batch_stats", after[0], rules) if stats else {},
        eval_logits=None,
        unmoved={name for name, x in end.items() if (x == start[name]).all()},
    )
    return ours, history[0][2], evaluate(final, stats)


def joined(trained, frozen):
    flat = traverse_util.flatten_dict(trained) | traverse_util.flatten_dict(frozen)
    return traverse_util.unflatten_dict(flat)


def text_of(seeded, arrays, model):
    """Returns seed → text features with the mask of words."""
    given = trajectories.features_of(seeded, arrays)

    def make(seed):
        text = given(seed)
        ids = arrays["input_ids"] if "input_ids" in arrays else np.zeros_like(text["mask"])
        return {**text, "word_mask": np.asarray(model.network().word_mask(ids, text["mask"]))}

    return make


@pytest.mark.parametrize("stage", ["coarse", "joint"])
def test_the_network_is_trained_as_recorded(goldens, seeded, stage):
    name = {"coarse": "dicor_coarse_small_train64", "joint": "dicor_joint_train64"}[stage]
    manifest = {"coarse": "dicor_coarse_small"}.get(stage, name)  # of the same network
    arrays = dict(np.load(goldens / f"{name}.npz"))
    if stage == "coarse":
        config = make_model(stage, float(arrays["lr"]), float(arrays["weight_decay"]))
    else:
        rest = {key: float(arrays[f"{key}_rest"]) for key in ("lr", "weight_decay")}
        config = make_model(
            stage,
            rest["lr"],
            rest["weight_decay"],
            text_norm_rate=float(arrays["lr_text_norm"]) / rest["lr"],
            text_norm_decay=float(arrays["weight_decay_text_norm"]) / rest["weight_decay"],
        )
    config.model.mixer.depth = int(arrays["num_blocks"])
    config.model.guide.end_ids = (101, 102)
    model = registry.build(config)
    network = model.network()
    batches = trajectories.batches_of(seeded, arrays, text_of(seeded, arrays, model))
    rules = model.table().rules
    state_dict = seeded.seeded_state_dict(
        goldens / f"manifest_{manifest}.json", int(arrays["seed"])
    )
    first = batches[0]
    shapes = jax.eval_shape(
        lambda: network.init(
            jax.random.key(0), {"image": first["image"]}, first["text"], method="segment"
        )
    )

    flat = imported(state_dict, rules, shapes)

    def forward(params, stats, batch, train):
        arguments = ({"image": batch["image"]}, batch["text"])
        if stage == "joint":
            arguments = (batch["maps"], batch["image"], batch["text"])
        outputs, updates = network.apply(
            {"params": params, "batch_stats": stats},
            *arguments,
            train=train,
            method="segment_maps" if stage == "joint" else "segment",
            mutable=["batch_stats"],
        )
        return outputs, updates["batch_stats"]

    if stage == "joint":  # the encoder stays as it is: one program of it is enough
        read = jax.jit(lambda *given: network.apply(*given, train=False, method="read"))
        variables = traverse_util.unflatten_dict(flat, sep="/")
        for batch in batches:
            batch["maps"] = read(variables, batch["image"], batch["text"])

    def terms_of(outputs, batch):
        sums = model.loss_sums(outputs, batch, lambda x: x)
        by = model.loss_weights(batch)
        return {name: sums[name] / by[name] for name in sums}

    ours, _, last = follow(model, flat, batches, arrays, rules, forward, terms_of)
    ours.eval_logits = np.asarray(last.aux["logits"])
    trajectories.assert_followed(ours, arrays)
    if stage == "joint":
        assert ours.gradients.keys() == set(arrays["grad_names"])
    else:
        dead = set(arrays["grad_names"][arrays["grad_is_none"]])
        assert ours.gradients.keys() == set(arrays["grad_names"]) - dead


def test_the_refiner_is_trained_as_recorded(goldens, seeded):
    arrays = dict(np.load(goldens / "dicor_refiner_train64.npz"))
    model = registry.build(
        make_model("refiner", float(arrays["lr"]), float(arrays["weight_decay"]))
    )
    network = model.network()
    state_dict = seeded.seeded_state_dict(
        goldens / "manifest_dicor_refiner_train64.json", int(arrays["seed"])
    )
    shape, seed = tuple(arrays["image_shape"]), int(arrays["seed"]) * 100
    batches = [
        {
            "image": seeded.seeded_image(shape, seed + index).astype(np.float64),
            "prompt": arrays["prompt_uint8"],
            "target": arrays["target"],
        }
        for index in range(int(arrays["num_batches"]))
    ]

    def refine(variables, batch, train, **kwargs):
        prior = stored_probabilities(jnp.asarray(batch["prompt"]))
        image = {"image": batch["image"]}
        return network.apply(variables, image, prior, train, method="refine", **kwargs)

    shapes = jax.eval_shape(
        lambda: network.init(
            jax.random.key(0),
            {"image": batches[0]["image"]},
            stored_probabilities(jnp.asarray(arrays["prompt_uint8"])),
            True,
            method="refine",
        )
    )

    def forward(params, stats, batch, train):
        variables = {"params": params, "batch_stats": stats}
        outputs, updates = refine(variables, batch, train, mutable=["batch_stats"])
        return outputs, updates["batch_stats"]

    def terms_of(outputs, batch):
        sums = model.loss_sums(outputs, batch, lambda x: x)
        return {name: x / len(batch["target"]) for name, x in sums.items()}

    rules = weights.refiner_rules("refineHead.")
    flat = imported(state_dict, rules, shapes)
    ours, first, last = follow(model, flat, batches, arrays, rules, forward, terms_of)
    focus = refiner_loss.focus_map(first.aux["prompt"])
    np.testing.assert_allclose(focus[:, ::2, ::2], arrays["focus_map"], atol=1e-7)
    delta = first.aux["delta_logits"]
    np.testing.assert_allclose(delta[:, ::2, ::2], arrays["delta_step0"], atol=1e-7)
    ours.terms["inhibit"] *= model.loss_scales()["inhibition"]
    ours.eval_logits = np.asarray(last.aux["logits"])
    trajectories.assert_followed(ours, arrays)


def test_the_guide_is_trained_as_recorded(goldens, seeded):
    arrays = dict(np.load(goldens / "dicor_guide_train64.npz"))
    rate = float(arrays["lr_evidence"])
    config = make_model(
        "guide",
        rate,
        float(arrays["weight_decay"]),
        ranker_rate=float(arrays["lr_winner"]) / rate,
    )
    config.data.arrays.distractors = ("given",)
    config.model.guide.end_ids = (101, 102)
    model = registry.build(config)
    seed = int(arrays["seed"])
    text = text_of(seeded, arrays, model)(seed)
    x = seeded.seeded_image(tuple(arrays["feature_shape"]), seed).astype(np.float64)
    size = x.shape[1:3]
    prior = resized(stored_probabilities(jnp.asarray(arrays["prompt_uint8"])), *size)
    others = np.zeros_like(arrays["target"])
    for owner, mask in zip(arrays["sam_owner"], arrays["sam_masks"], strict=True):
        others[owner] |= mask
    regions = guide_loss.find_regions(arrays["target"], size, others, np.float64)
    places = candidates.find(prior)

    state_dict = seeded.seeded_state_dict(goldens / "manifest_dicor_guide_train64.json", seed)
    guide = Guide(dtype=np.float64, param_dtype=np.float64)
    shapes = jax.eval_shape(lambda: guide.init(jax.random.key(0), x, text, prior))
    rules = weights.guide_rules("")
    state_dict = {
        name: value for name, value in state_dict.items() if not name.startswith("text_norm.")
    }
    flat = imported(state_dict, rules, {"params": {"guide": shapes["params"]}})

    def forward(params, stats, batch, train):
        guidance = guide.apply({"params": params["guide"]}, x, text, prior)
        return Outputs(guidance.evidence, aux={"guidance": guidance}), stats

    def terms_of(outputs, batch):
        guidance = outputs.aux["guidance"]
        sums = guide_loss.sums(guidance.evidence, guidance.scores, guidance.candidates, regions)
        by = guide_loss.weights(places, regions)
        return {name: sums[name] / by[name] for name in sums}

    ours, first, last = follow(model, flat, [{}], arrays, rules, forward, terms_of)
    for name, region in {
        "sup_pos": regions.near,
        "sup_far_bg": regions.far,
        "sup_sam_weak_neg": regions.distractors,
    }.items():
        np.testing.assert_array_equal(region, arrays[name], err_msg=name)
    np.testing.assert_allclose(regions.center, arrays["sup_center"], atol=1e-6)
    np.testing.assert_allclose(regions.area, arrays["sup_area_ratio"], atol=1e-7)
    place, learnt = guide_loss.right_place(places, regions)
    np.testing.assert_array_equal(place, arrays["winner_target_idx"])
    np.testing.assert_array_equal(learnt, arrays["winner_target_valid"])

    guidance = first.aux["guidance"]
    found = guidance.candidates
    np.testing.assert_array_equal(found.centers, arrays["cand_centers"])
    np.testing.assert_array_equal(found.valid, arrays["cand_valid"])
    for name, value in {
        "candidate_source": guidance.prior,
        "evidence_logit": guidance.evidence,
        "cand_maps": found.maps,
        "peak_values": found.peaks,
        "raw_masses": found.masses,
        "scores": guidance.scores,
        "cand_probs": guidance.probabilities(),
        "content_score": guidance.content,
        "geo_score": guidance.position,
        "token_alpha": guidance.alpha,
    }.items():
        stored = arrays[name]
        tolerance = 1e-6 if stored.dtype == np.float32 else 1e-9
        np.testing.assert_allclose(value, stored, atol=tolerance, rtol=1e-6, err_msg=name)

    np.testing.assert_allclose(ours.losses, arrays["losses"], rtol=1e-7)
    terms = ours.terms
    evidence = terms["near"] + terms["far"] + 0.5 * terms["distractors"]
    np.testing.assert_allclose(evidence, arrays["evidence_losses"], rtol=1e-7)
    np.testing.assert_allclose(terms["winner"], arrays["winner_losses"], rtol=1e-7)
    norms = dict(zip(arrays["grad_names"], arrays["grad_norms"], strict=True))
    for name, gradient in ours.gradients.items():
        np.testing.assert_allclose(
            np.linalg.norm(gradient), norms[name], rtol=1e-6, atol=1e-12, err_msg=name
        )
    end = last.aux["guidance"]
    np.testing.assert_allclose(end.scores, arrays["scores_after"], atol=1e-6)
    np.testing.assert_allclose(end.evidence, arrays["evidence_logit_after"], atol=1e-6)
