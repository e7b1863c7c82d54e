"""Every builder through TFDS: loaded in both formats, and trained on for three steps."""

import pickle

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds

from rrsis_jax.data import datasets, run_data
from rrsis_jax.distributed import parallel
from rrsis_jax.models import registry
from rrsis_jax.training import optim, train, train_step
from tests import small_config
from tests.tfds_referring import made_trees
from tests.tfds_referring.made_trees import BUILDERS, COUNTS
from tfds_referring import packages
from tfds_refsegrs import LayoutError

SIX = ["image", "mask", "expression", "image_id", "category", "scene"]
MORE = (21, 22, 23, 24)


@pytest.fixture(scope="module")
def learner():
    """The stand-in, a training step of it, and its first state."""
    config = small_config.get_config()
    model = registry.build(config)
    optimizer = optim.build_optimizer(config.optim, optim.build_schedule(config.optim, 3), model)
    step = train_step.make_train_fn(config, model, optimizer)
    return model, step, train.make_state(config, model, optimizer)


@pytest.fixture(scope="module", params=BUILDERS)
def prepared(request, tmp_path_factory):
    """The folder and the prepared builder of each dataset, with four samples to train on."""
    dataset, root = request.param, tmp_path_factory.mktemp(request.param)
    small = dataset in ("rrsisd", "risbench")
    tree = BUILDERS[dataset](root / "tree", *([MORE] if small else []))
    counts = COUNTS[dataset] and {
        **COUNTS[dataset],
        "train": COUNTS[dataset]["train"] + (len(MORE) if small else 0),
    }
    with pytest.MonkeyPatch.context() as patched:
        builder_class = packages.builder_class(dataset)
        if builder_class.COUNTS:
            patched.setattr(builder_class, "COUNTS", counts)
        yield tree, datasets.prepare(dataset, str(root / "tfds"), str(tree))


def test_load_reads_what_random_access_reads(prepared, tmp_path):
    tree, builder = prepared
    loaded = tfds.load(builder.name, split="test", data_dir=tmp_path, builder_kwargs={"path": tree})
    examples = {x["image_id"].decode(): x for x in tfds.as_numpy(loaded)}
    source = datasets.open_split(builder, "test")
    assert len(source) == len(examples) == COUNTS[builder.name]["test"]
    for example in source:
        other = examples[example["image_id"].decode()]
        assert set(SIX) <= set(example)
        assert example.keys() == other.keys()
        assert example["mask"].dtype == np.uint8
        assert set(np.unique(example["mask"])) == {0, 1}
        for key in {*example} - {"image", "sentences"}:
            np.testing.assert_array_equal(example[key], other[key])
        # Two decoders may round a JPEG's pixels differently.
        difference = example["image"].astype(int) - other["image"]
        assert abs(difference).max() <= (4 if builder.name == "rrsisd" else 0)


def test_what_is_left_out_is_kept_with_the_data(prepared):
    _, builder = prepared
    again = tfds.builder_from_directory(builder.data_dir)
    expected = [{"name": "train/train_6194_0", "reason": "its phrase is '.'"}]
    assert again.info.metadata["left_out"] == (expected if builder.name == "risbench" else [])
    assert again.info.citation.startswith("@")
    assert pickle.loads(pickle.dumps(builder)).data_dir == builder.data_dir


def test_three_steps_of_training(prepared, learner):
    _, builder = prepared
    model, step, first = learner
    data = run_data.RunData(model.config, builder, model.tokenizer(""), model.inputs())
    state = parallel.replicate(first)
    for _, batch in zip(range(3), parallel.device_batches(data.train_batches(0)), strict=False):
        state, scalars = step(state, batch)
        assert np.isfinite(scalars["loss"]).all()
    moved = jax.tree.map(
        lambda a, b: np.abs(a - b).max(), parallel.unreplicate(state).params, first.params
    )
    assert min(jax.tree.leaves(moved["conv"])) > 0


def test_a_bad_tree_leaves_nothing_behind(make_builder, tmp_path):
    tree = made_trees.rrsisd(tmp_path / "tree")
    (tree / "images/rrsisd/JPEGImages/00110.jpg").unlink()
    manual = tfds.download.DownloadConfig(manual_dir=tree)
    for options, given in (({"path": tree}, None), ({}, manual)):
        with pytest.raises(LayoutError, match=r"1 problem\(s\) in .*; nothing was written"):
            make_builder("rrsisd", **options).download_and_prepare(download_config=given)
    assert not (tmp_path / "tfds").exists()


def test_a_dataset_without_a_folder_says_what_to_fetch(make_builder):
    with pytest.raises(AssertionError, match=r"folder 1Xqi3Am2Vgm4a5tHqiV9tfaqKNovcuK3A of Google"):
        make_builder("rrsisd").download_and_prepare()


def test_a_changed_tree_is_prepared_anew(make_builder, tmp_path):
    tree = made_trees.risbench(tmp_path / "tree")
    before = make_builder("risbench", path=tree).builder_config.name
    assert make_builder("risbench", path=tree).builder_config.name == before
    assert before.startswith("official_")
    text = tree / "output_phrase_val.txt"
    text.write_text(text.read_text().replace("parked", "moved"))
    assert make_builder("risbench", path=tree).builder_config.name != before
