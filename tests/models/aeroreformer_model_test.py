"""AeroReformer as a model: groups, loss, weights both ways, what is refused."""

import numpy as np
import pytest

from rrsis_jax.configuration import schema
from rrsis_jax.models import published, registry
from tests.models import family


@pytest.fixture(scope="module")
def model():
    return registry.build(family.tiny("aeroreformer"))


def test_dead_parameters_and_loss_are_the_recorded_ones(model, goldens):
    schema.check(model.config)
    family.assert_dead_as_recorded(model, np.load(goldens / "aeroreformer_small_train64.npz"))
    family.assert_loss_as_recorded(model, dice_batch=8)


def test_groups_are_the_papers(model):
    family.assert_decay_by_published_names(model)


def test_weights_return_and_are_recognised(model):
    state_dict = family.assert_weights_return(model)
    assert registry.recognised(state_dict) == "aeroreformer"
    assert "classifier.lat4.1.num_batches_tracked" in state_dict
    with pytest.raises(
        ValueError, match=r"look like 'aeroreformer' weights.*: use --config=aeroreformer_refsegrs"
    ):
        published.import_state_dict(state_dict, registry.build(family.tiny("lgce")))


def test_a_cut_phrase_keeps_its_end_unless_it_shall_not(model):
    long = "building along the road " * 5
    kept = model.tokenizer("", [long])(long)["input_ids"]
    config = family.tiny("aeroreformer")
    config.model.text.keep_end = False
    cut = registry.build(config).tokenizer("", [long])(long)["input_ids"]
    assert (kept[:-1] == cut[:-1]).all()
    assert kept[-1] != cut[-1]


@pytest.mark.parametrize(("size", "fitting"), [(100, "96 or 128"), (500, "480 or 512")])
def test_sizes_that_do_not_double_are_refused(size, fitting):
    config = family.tiny("aeroreformer")
    config.data.image_size = size
    with pytest.raises(ValueError, match=f"is {size}; it must be a multiple of 32.*{fitting} fits"):
        registry.build(config)
