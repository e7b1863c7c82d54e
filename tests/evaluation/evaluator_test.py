"""Evaluation against a recount in numpy: any number of devices, both protocols, odd splits."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from rrsis_jax import constants
from rrsis_jax.data import annotations, datasets, run_data, transforms
from rrsis_jax.data.tokenizers import wordpiece
from rrsis_jax.distributed import parallel
from rrsis_jax.evaluation import mask_files
from rrsis_jax.evaluation.evaluator import Evaluator, _ahead
from rrsis_jax.models.contract import Outputs
from tests.fake_runs import Threshold


def margin_of(image, phrase, words):
    """The same in numpy, of a uint8 image at the evaluation's size."""
    ids, mask = words(phrase).values()
    normal = (image / 255.0 - constants.IMAGENET_MEAN) / constants.IMAGENET_STD
    return normal.mean(-1) - np.sum(ids * mask) % 7 / 7.0 + 0.3


@pytest.fixture(scope="module")
def builder(scene_folder, tmp_path_factory):
    found = tfds.builder(
        "refsegrs/folder",
        path=scene_folder,
        data_dir=tmp_path_factory.mktemp("tfds"),
        file_format="array_record",
    )
    found.download_and_prepare()
    return found


@pytest.fixture(scope="module")
def words(builder):
    source = datasets.open_split(builder, "train", decode=False)
    return wordpiece.train(datasets.phrases(source), 256, 12)


@pytest.fixture
def data(tiny_config, builder, words):
    tiny_config.eval.batch_size = 12
    return run_data.RunData(tiny_config, builder, words, Threshold(tiny_config).inputs())


def evaluator_on(data, count):
    devices = jax.local_devices()[:count]
    return Evaluator(Threshold(data.config), data, devices), parallel.replicate({}, devices)


@pytest.mark.parametrize(
    ("count", "backend"),
    [(1, "pmap"), (2, "pmap"), (3, "pmap"), (4, "pmap"), (1, "shard_map"), (3, "shard_map")],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_every_sample_counts_once_on_any_number_of_devices(
    data, builder, words, split, count, backend
):
    data.config.distributed.backend = backend
    evaluator, variables = evaluator_on(data, count)
    samples = evaluator.samples(variables, split)
    source = builder.as_data_source(split)
    assert len(samples) == len(source)
    assert len(source) % 12  # the last batch is padded
    for index, (sample, example) in enumerate(zip(samples, source, strict=True)):
        phrase = example["expression"].decode()
        assert (sample.index, sample.phrase) == (index, phrase)
        assert sample.image_id == example["image_id"].decode()
        small = np.asarray(Image.fromarray(example["image"]).resize((32, 32), 2))
        target = example["mask"][..., 0]
        resized = np.asarray(Image.fromarray(target).resize((32, 32), 0))
        predicted = margin_of(small, phrase, words) > 0
        assert sample.paper_intersection == np.sum(predicted & (resized > 0))
        assert sample.paper_union == np.sum(predicted | (resized > 0))
        assert sample.target_share == pytest.approx(target.mean())


def test_devices_have_two_batches_to_do_while_the_host_counts_one():
    begun = []
    items = (begun.append(number) or number for number in range(5))
    ahead = [(number, begun.copy()) for number in _ahead(items, 2)]
    assert ahead == [(number, list(range(min(number + 3, 5)))) for number in range(5)]


def test_a_mask_that_cannot_be_written_ends_the_evaluation(data, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(mask_files, "save", refuse)
    evaluator, variables = evaluator_on(data, 1)
    with pytest.raises(OSError, match="No space left on device"):
        evaluator.samples(variables, "test", tmp_path / "masks")


def test_native_counts_are_of_the_resized_logits(data, builder, words):
    evaluator, variables = evaluator_on(data, 4)
    samples = evaluator.samples(variables, "test")
    for sample, example in zip(samples, builder.as_data_source("test"), strict=True):
        small = np.asarray(Image.fromarray(example["image"]).resize((32, 32), 2))
        margin = margin_of(small, sample.phrase, words)
        own = np.asarray(jax.image.resize(margin, (48, 48), "linear")) > 0
        target = example["mask"][..., 0] > 0
        # A pixel on the threshold may fall on either side.
        assert abs(sample.native_intersection - np.sum(own & target)) <= 1
        assert abs(sample.native_union - np.sum(own | target)) <= 1
        assert sample.native_union != sample.paper_union


def test_protocols_agree_where_nothing_is_resized(data):
    data.config.data.image_size = 48
    large = dataclasses.replace(data, inputs=Threshold(data.config).inputs())
    evaluator, variables = evaluator_on(large, 4)
    for sample in evaluator.samples(variables, "validation"):
        assert sample.native_intersection == sample.paper_intersection
        assert sample.native_union == sample.paper_union


def test_saved_masks_recount_to_the_table(data, builder, tmp_path):
    evaluator, variables = evaluator_on(data, 4)
    samples = evaluator.samples(variables, "test", tmp_path)
    for sample, example in zip(samples, builder.as_data_source("test"), strict=True):
        target = example["mask"][..., 0]
        resized = np.asarray(Image.fromarray(target).resize((32, 32), 0))
        for own, mask, counts in (
            (False, resized, (sample.paper_intersection, sample.paper_union)),
            (True, target, (sample.native_intersection, sample.native_union)),
        ):
            saved = np.asarray(Image.open(mask_files.mask_file(tmp_path, sample.index, own)))
            assert (np.sum(saved & (mask > 0)), np.sum(saved | (mask > 0))) == counts


def test_the_table_and_the_counts_of_training_agree(data):
    evaluator, variables = evaluator_on(data, 4)
    samples = evaluator.samples(variables, "test")
    counts = evaluator.counts(variables, "test")
    assert counts.union.tolist() == [sample.paper_union for sample in samples]
    assert counts.intersection.tolist() == [sample.paper_intersection for sample in samples]
    shuffled = evaluator.counts(variables, "test", shuffle_phrases=True)
    assert shuffled.union.tolist() != counts.union.tolist()


def test_predictions_of_chosen_samples(data, builder):
    evaluator, variables = evaluator_on(data, 4)
    found = evaluator.predictions(variables, "train", [5, 2])
    assert [prediction.index for prediction in found] == [5, 2]
    phrases = [builder.as_data_source("train")[i]["expression"].decode() for i in (5, 2)]
    assert [prediction.phrase for prediction in found] == phrases
    assert found[0].mask.shape == found[0].target.shape == (32, 32)


def test_a_lost_sample_is_an_error(data, monkeypatch):
    whole = run_data.RunData.eval_batches

    def lossy(self, source, views):
        for batch in whole(self, source, views):
            yield {**batch, "index": np.where(batch["index"] == 3, -1, batch["index"])}

    monkeypatch.setattr(run_data.RunData, "eval_batches", lossy)
    evaluator, variables = evaluator_on(data, 4)
    with pytest.raises(ValueError, match=r"Expected each of \d+ samples once, got"):
        evaluator.counts(variables, "train")


def test_descriptions_hold_what_the_dataset_says(builder):
    described = annotations.describe(builder, "train")
    source = builder.as_data_source("train")
    for found, example in zip(described, source, strict=True):
        target = example["mask"][..., 0]
        np.testing.assert_array_equal(annotations.decode_mask(found.encoded_mask), target)
        assert found.category == builder.info.features["category"].int2str(example["category"])
    assert len({found.tile for found in described}) == 3  # one a scene


def test_resizing_margins_is_bilinear():
    margin = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)
    ours = transforms.resize_margin(margin, (19, 24))
    np.testing.assert_allclose(ours, jax.image.resize(margin, (19, 24), "linear"), atol=1e-5)
    np.testing.assert_array_equal(transforms.resize_margin(margin, (8, 6)), margin)


def test_averaging_over_views_counts_what_an_even_handed_model_answers_anyway(data):
    data.config.eval.test_time = "all"
    evaluator, variables = evaluator_on(data, 2)
    averaging = evaluator.averaging(data.views)
    assert averaging is not evaluator
    assert averaging.averaging(data.views) is averaging
    plain = evaluator.counts(variables, "test")
    averaged = averaging.counts(variables, "test")
    np.testing.assert_array_equal(averaged.intersection, plain.intersection)
    np.testing.assert_array_equal(averaged.union, plain.union)


class AllOrNothingNetwork(nn.Module):
    """Answers with the whole image, says yes if the sum of the phrase's ids is odd, else no."""

    @nn.compact
    def __call__(self, images, text, train=False):
        odd = (text["input_ids"] * text["attention_mask"]).sum(-1) % 2
        return Outputs(jnp.ones(images["image"].shape[:3]), presence=odd - 0.5)


class AllOrNothing(Threshold):
    def network(self, axis_name=None):
        return AllOrNothingNetwork()


def test_the_none_rate_counts_empty_answers_to_absent_phrases(data, words):
    evaluator = Evaluator(AllOrNothing(data.config), data, jax.local_devices()[:2])
    source = data.absent("train")
    phrases = [source[i]["expression"] for i in range(len(source))]
    empty = [np.prod(list(words(phrase).values()), axis=0).sum() % 2 == 0 for phrase in phrases]
    assert 0 < sum(empty) < len(empty)
    variables = parallel.replicate({}, jax.local_devices()[:2])
    assert evaluator.none_rate(variables, "train") == pytest.approx(np.mean(empty))
