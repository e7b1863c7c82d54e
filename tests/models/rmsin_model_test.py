"""RMSIN as a model: groups, loss, weights both ways, what is refused."""

import jax
import numpy as np
import pytest
import torch

from rrsis_jax.configuration import schema
from rrsis_jax.models import published, registry
from rrsis_jax.models.rmsin import weights
from rrsis_jax.models.rmsin.network import token_count
from tests.models import family


@pytest.fixture(scope="module")
def model():
    return registry.build(family.tiny("rmsin"))


def test_dead_parameters_and_loss_are_the_recorded_ones(model, goldens):
    schema.check(model.config)
    family.assert_dead_as_recorded(model, np.load(goldens / "rmsin_small_train64.npz"))
    family.assert_loss_as_recorded(model, dice_batch=2)


def test_groups_are_the_papers(model):
    family.assert_decay_by_published_names(model)


def test_weights_return_and_are_recognised(model):
    state_dict = family.assert_weights_return(model)
    assert registry.recognised(state_dict) == "rmsin"
    assert "backbone.cim.fusion.3.bn2.num_batches_tracked" in state_dict
    with pytest.raises(
        ValueError, match=r"look like 'rmsin' weights.*: use --config=rmsin_refsegrs"
    ):
        published.import_state_dict(state_dict, registry.build(family.tiny("lgce")))


def test_weights_of_another_size_say_which(model):
    config = family.tiny("rmsin")
    config.data.image_size = 96
    state_dict, _ = published.export_state_dict(family.random_variables(model), model)
    with pytest.raises(
        ValueError, match=r"images of 32×32.*is 96: set --config.data.image_size=32, or take"
    ):
        published.import_state_dict(state_dict, registry.build(config))


def test_remotesams_checkpoint_opens_at_its_size_only(tmp_path):
    """The network as RemoteSAM's code sets it up: 784 positions mix 1,080 tokens; one file."""
    config = family.tiny("rmsin")
    config.data.image_size = 896
    model = registry.build(config)
    variables = family.random_variables(model)
    state_dict, _ = published.export_state_dict(variables, model)
    assert state_dict[weights.TOKEN_MIXING].shape == (784, 1080)
    sections = {"model": {name: torch.tensor(x) for name, x in state_dict.items()}}
    sections |= {"optimizer": {"state": {}}, "lr_scheduler": {}, "epoch": 39}
    torch.save(sections, tmp_path / "RemoteSAM.pth")
    returned, _ = published.import_weights(tmp_path / "RemoteSAM.pth", model)
    jax.tree.map(np.testing.assert_array_equal, returned, variables)
    with pytest.raises(ValueError, match=r"images of 896×896.*or take a .*as rmsin_remotesam has"):
        published.import_weights(tmp_path / "RemoteSAM.pth", registry.build(family.tiny("rmsin")))


def test_sizes_of_images_have_the_published_counts_of_tokens():
    # The authors' 480, and 896 of RemoteSAM, which is said to be the same network.
    assert [token_count(size // 32) for size in (480, 896)] == [314, 1080]


@pytest.mark.parametrize(("size", "fitting"), [(100, "96 or 128"), (500, "480 or 512")])
def test_sizes_that_do_not_double_are_refused(size, fitting):
    config = family.tiny("rmsin")
    config.data.image_size = size
    with pytest.raises(ValueError, match=f"is {size}; it must be a multiple of 32.*{fitting} fits"):
        registry.build(config)
