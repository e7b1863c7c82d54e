"""What every model answers, each at the size of its `get_small`."""

import dataclasses
import functools
import pathlib

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrsis_jax import models
from rrsis_jax.configuration import files, schema
from rrsis_jax.data.inputs import MAIN
from rrsis_jax.models import contract, published, registry
from rrsis_jax.prediction import bundle, trained_model
from rrsis_jax.training import optim
from rrsis_jax.weights import variable_folder
from tests.conftest import PHRASES, random_variables
from tests.key_recorder import KeyRecorder
from tests.models.small_models import BATCH, make_batch, small_config
from tests.models.traced_types import assert_all_float64, types_of

SECTIONS = {"model", "loss", "groups", "arrays"}
REPEATED = [0, 0, 2, 1]  # rows of a batch, as one image with several phrases and padding have them
TOLERANCE = 1e-4  # of log-odds of a size of 1: rows of other batches are summed in another order


@dataclasses.dataclass(frozen=True)
class Built:
    """A small model with random variables, a batch, and the program of its parts."""

    model: contract.Model
    variables: dict
    batch: dict
    folder: pathlib.Path

    @functools.cached_property
    def bundle(self):
        """The model as a bundle of three programs, written from imported variables and read."""
        config = self.model.config.copy_and_resolve_references()
        config.data.tokenizer = str(self.folder / "words")
        self.model.tokenizer("", PHRASES).save(self.folder / "words")
        variable_folder.save(self.folder / "variables", self.variables)
        trained = trained_model.from_weights(self.folder / "variables", config)
        bundle.save(trained, self.folder / "bundle")
        return bundle.load(self.folder / "bundle")

    @functools.cached_property
    def program(self):
        """Outputs of the call, encoded parts, and what `segment` says of these, by one program."""
        network = self.model.network()

        @jax.jit
        def run(variables, images, text, image_rows, text_rows):
            encoded = (
                rows(self.bundle.encode_image(variables, images), image_rows),
                rows(self.bundle.encode_text(variables, text), text_rows),
            )
            whole = network.apply(variables, images, text)
            return whole, encoded, self.bundle.segment(variables, *encoded)

        return functools.partial(run, self.variables)

    @functools.cached_property
    def answers(self):
        """Of the batch as it is: outputs, encoded parts, and the bundle's log-odds."""
        every = np.arange(BATCH)
        return self.program(self.batch["images"], self.batch["text"], every, every)


def rows(tree, chosen):
    return jax.tree.map(lambda x: x[chosen], tree)


@pytest.fixture(scope="module", params=registry.names())
def built(request, tmp_path_factory):
    model = registry.build(small_config(request.param))
    folder = tmp_path_factory.mktemp(request.param)
    return Built(model, random_variables(model), make_batch(model), folder)


@pytest.mark.parametrize("name", registry.names())
def test_every_key_has_a_rule_that_its_default_fits_and_no_rule_is_without_key(name):
    rules = registry.rules(name)
    for sections in (registry.defaults(name), registry.small(name)):
        assert {"model", "loss", "groups"} <= set(sections.keys()) <= SECTIONS
        assert sections.model.name == name
        values = schema.flat(
            {
                "model": sections.model,
                "loss": sections.loss,
                "optim": {"groups": sections.groups},
                "data": {"arrays": sections.get("arrays", {})},
            }
        )
        assert values.keys() == rules.keys()
        for key, value in values.items():
            assert rules[key].fits(value), f"{key} = {value!r} is not {rules[key].words}"
    assert not rules.keys() & schema.SHARED_RULES.keys()


@pytest.mark.parametrize("name", registry.names())
def test_every_key_is_read(name, monkeypatch):
    config = small_config(name)
    recorder = KeyRecorder(config, monkeypatch)
    model = registry.build(config)
    batch = make_batch(model)
    outputs, variables = jax.eval_shape(
        model.network().init_with_output, jax.random.key(0), batch["images"], batch["text"]
    )
    jax.eval_shape(lambda o: model.loss_sums(o, batch, lambda tree: tree), outputs)
    for ask in (model.loss_scales, model.table, model.parts):
        ask()
    model.loss_weights(batch)
    for path in flax.traverse_util.flatten_dict(variables["params"]):
        model.param_group(path)
    own = {key for key in recorder.all if key in registry.rules(name)}
    assert own == registry.rules(name).keys()
    # What `rrsis-prompts` reads of a run is no business of its network.
    own -= {key for key in own if key.startswith("model.prompts.")}
    assert own - recorder.read - {"model.name"} == set()


@pytest.mark.parametrize("name", registry.names())
def test_former_keys_lead_to_present_ones(name):
    assert set(registry.former_keys(name).values()) - {""} <= registry.rules(name).keys()
    assert not registry.former_keys(name).keys() & registry.rules(name).keys()


def test_the_small_configuration_is_one_that_can_run(built):
    schema.check(built.model.config)
    assert built.model.problems() == []


def test_a_sample_is_what_the_inputs_and_the_tokenizer_say(built):
    images, text = built.model.sample_shapes()
    assert MAIN in images
    for tree, shapes in ((built.batch["images"], images), (built.batch["text"], text)):
        assert jax.tree.structure(tree) == jax.tree.structure(shapes)
        for leaf, spec in zip(jax.tree.leaves(tree), jax.tree.leaves(shapes), strict=True):
            assert leaf.shape == (BATCH, *spec.shape[1:])
            assert leaf.dtype == spec.dtype


def test_outputs_have_the_shapes_and_types_of_the_contract(built):
    outputs, encoded, _ = built.answers
    assert isinstance(outputs, contract.Outputs)
    side = built.model.inputs().target_size
    assert outputs.log_odds.shape == (BATCH, side, side)
    assert outputs.log_odds.dtype == jnp.float32
    assert np.isfinite(outputs.log_odds).all()
    assert np.ptp(outputs.log_odds) > 1e-3  # the variables make a difference
    assert outputs.presence is None or outputs.presence.shape == (BATCH,)
    assert outputs.answer().shape == outputs.log_odds.shape
    assert all(len(leaf) == BATCH for leaf in jax.tree.leaves(encoded))


def test_the_programs_of_a_bundle_are_the_call(built):
    """Each by itself and one after the other: `encode_image`, `encode_text`, `segment`."""
    whole, _, parts = built.answers
    np.testing.assert_allclose(parts, whole.answer(), atol=TOLERANCE)
    assert built.bundle.inputs == built.model.inputs()
    text = jax.tree.map(lambda *words: np.stack(words), *map(built.bundle.tokenizer, PHRASES))
    jax.tree.map(np.testing.assert_array_equal, text, built.batch["text"])


def test_the_phrase_and_the_image_are_heard(built):
    batch, every = built.batch, np.arange(BATCH)
    whole, _, _ = built.answers
    _, _, other_phrases = built.program(batch["images"], batch["text"], every, every[::-1])
    _, _, other_images = built.program(batch["images"], batch["text"], every[::-1], every)
    for other in (other_phrases, other_images):
        moved = np.abs(other - whole.answer()).max(axis=(1, 2))
        assert (moved > 10 * TOLERANCE).all()


def test_rows_can_be_repeated_and_gathered_before_and_after_encoding(built):
    batch, every, chosen = built.batch, np.arange(BATCH), np.array(REPEATED)
    whole, _, _ = built.answers
    _, _, after = built.program(batch["images"], batch["text"], chosen, chosen)
    _, _, before = built.program(
        rows(batch["images"], chosen), rows(batch["text"], chosen), every, every
    )
    for log_odds in (after, before):
        np.testing.assert_allclose(log_odds, whole.answer()[chosen], atol=TOLERANCE)


def test_batch_mates_change_nothing(built):
    batch, every = built.batch, np.arange(BATCH)
    images = {name: image.copy() for name, image in batch["images"].items()}
    for image in images.values():
        image[1:] = 255 - image[1:]
    text = rows(batch["text"], [0, 3, 1, 2])
    whole, _, _ = built.answers
    other, _, _ = built.program(images, text, every, every)
    np.testing.assert_allclose(other.log_odds[0], whole.log_odds[0], atol=TOLERANCE)
    assert np.abs(other.log_odds[1:] - whole.log_odds[1:]).max() > 10 * TOLERANCE


@pytest.mark.parametrize("name", registry.names())
def test_bfloat16_multiplies_in_bfloat16_and_answers_in_float32(name):
    """Traced; `tests/stress/devices.py` compares the numbers with those of float32."""
    config = small_config(name)
    config.model.dtype = "bfloat16"
    model = registry.build(config)
    program, outputs = jax.make_jaxpr(model.outputs, return_shape=True)(
        model.shapes(), *model.sample_shapes()
    )
    assert {x.dtype for x in jax.tree.leaves(model.shapes())} == {np.dtype("float32")}
    assert outputs.log_odds.dtype == jnp.float32
    rough = np.dtype(jnp.bfloat16)
    assert rough in types_of(program.jaxpr, "dot_general", "conv_general_dilated")
    assert rough not in types_of(program.jaxpr, "exp", "rsqrt", "reduce_sum")  # softmax, norms


def test_param_groups_cover_the_tree_and_some_learn(built):
    shapes = built.model.shapes()["params"]
    groups = {
        path: built.model.param_group(path) for path in flax.traverse_util.flatten_dict(shapes)
    }
    for path, group in groups.items():
        assert group is None or isinstance(group, contract.Group), path
        if group is not None:
            assert group.rate > 0, path
            assert group.decay >= 0, path
    trained, frozen = (
        flax.traverse_util.flatten_dict(tree) for tree in optim.split_frozen(shapes, built.model)
    )
    assert trained.keys() == {path for path, group in groups.items() if group is not None}
    assert frozen.keys() == groups.keys() - trained.keys()
    assert trained


CARDS = sorted(pathlib.Path(models.__path__[0]).glob("*/README.md"))


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.parent.name)
def test_a_model_has_as_many_parameters_as_its_card_says(card):
    model = registry.build(files.load(registry.recipe(card.parent.name)))
    count = sum(leaf.size for leaf in jax.tree.leaves(model.shapes()["params"]))
    assert f"{count:,} parameters" in card.read_text()


def test_import_undoes_export_and_unknown_names_are_refused(built):
    state_dict, _ = published.export_state_dict(built.variables, built.model)
    variables, _ = published.import_state_dict(state_dict, built.model)
    assert jax.tree.structure(variables) == jax.tree.structure(built.variables)
    jax.tree.map(np.testing.assert_array_equal, variables, built.variables)
    state_dict["nothing.of.this.name"] = np.zeros(1, np.float32)
    with pytest.raises(ValueError, match=r"unknown, 1 [\s\S]*nothing\.of\.this\.name"):
        published.import_state_dict(state_dict, built.model)


def test_own_variables_are_adopted_as_they_are(built):
    adopted, left_out = built.model.adopt(built.variables)
    assert left_out == {}
    flat = flax.traverse_util.flatten_dict(built.variables, sep="/")
    assert adopted.keys() == flat.keys()
    assert all(adopted[path] is flat[path] for path in flat)


def with_every_term(model):
    """The same model with a loss of all its terms: no weight of one is 0."""
    config = model.config.copy_and_resolve_references()
    for key, value in config.loss.items():
        if value == 0.0:
            config.loss[key] = 0.5
    return registry.build(config)


def test_float64_runs_are_float64_throughout_and_refused_where_jax_has_none(built):
    config = built.model.config.copy_and_resolve_references()
    config.model.dtype = "float64"
    with pytest.raises(
        ValueError, match=r"dtype is float64, which JAX .* set JAX_ENABLE_X64=1 in the environment"
    ):
        registry.build(config)
    with jax.enable_x64(True):
        model = with_every_term(registry.build(config))
        variables = model.shapes()
        assert {x.dtype for x in jax.tree.leaves(variables)} == {np.dtype("float64")}

        def loss(variables, batch, key):
            outputs, updates = model.network().apply(
                variables,
                batch["images"],
                batch["text"],
                train=True,
                rngs={"dropout": key},
                mutable=["batch_stats"],
            )
            sums = model.loss_sums(outputs, batch, lambda tree: tree)
            return outputs.log_odds, updates, sums, model.loss_weights(batch)

        program = jax.make_jaxpr(loss)(variables, built.batch, jax.random.key(0))
    assert_all_float64(program.jaxpr)


def test_terms_of_the_loss_are_named_alike_and_add_up_over_micro_batches(built):
    outputs = built.answers[0]
    batch = built.batch
    for model in (built.model, with_every_term(built.model)):
        scales = model.loss_scales()
        assert scales
        assert all(scale > 0 for scale in scales.values())

        def terms(chosen, model=model):
            share = rows(batch, chosen)
            sums = model.loss_sums(rows(outputs, chosen), share, lambda tree: tree)
            return {"sums": sums, "weights": model.loss_weights(share)}

        whole, first, second = (
            terms(np.array(chosen)) for chosen in ([0, 1, 2, 3], [0, 2], [1, 3])
        )
        for part in (whole, first, second):
            assert part["sums"].keys() == part["weights"].keys() == scales.keys()
            assert all(leaf.shape == () for leaf in jax.tree.leaves(part))
        assert all(np.isfinite(x) and x > 0 for x in jax.tree.leaves(whole))
        across = model.terms_across_samples()
        assert across <= scales.keys()
        for name in scales.keys() - across:
            parts = first["sums"][name] + second["sums"][name]
            np.testing.assert_allclose(whole["sums"][name], parts, rtol=1e-5, err_msg=name)
        for name, weight in whole["weights"].items():
            parts = first["weights"][name] + second["weights"][name]
            np.testing.assert_allclose(weight, parts, rtol=1e-5, err_msg=name)
