"""Training batches shuffle, repeat and resume; evaluation batches hold every sample once."""

import dataclasses
import itertools
from functools import partial

import jax
import numpy as np
import pytest

import tfds_refsegrs
from rrsis_jax.data import datasets, input_pipeline, language_check
from rrsis_jax.data.inputs import ArrayInput, ImageInput, Inputs
from rrsis_jax.data.stored_rows import StoredRows
from rrsis_jax.data.tokenizers import wordpiece

SIZE = 16
INPUTS = Inputs({"image": ImageInput(SIZE), "half": ImageInput(SIZE // 2)}, target_size=SIZE)


class FakeSplit:
    """`count` samples whose images carry their own number."""

    def __init__(self, count, scenes=None):
        self._count = count
        self._scenes = scenes or list(range(count))

    def __len__(self):
        return self._count

    def __getitem__(self, index):
        image = np.full((20, 24, 3), self._scenes[index], np.uint8)
        mask = np.zeros((20, 24, 1), np.uint8)
        mask[:10] = 1
        return {"image": image, "mask": mask, "expression": f"tree number {index}".encode()}


@pytest.fixture(scope="module")
def words():
    return wordpiece.train([f"tree number {i}" for i in range(40)], 128, 6)


def train_batches(count, words, **options):
    defaults = {"inputs": INPUTS, "batch_size": 4, "seed": 3, "num_threads": 2, "prefetch": 2}
    return input_pipeline.make_train(FakeSplit(count), words, **{**defaults, **options})


def eval_batches(count, words, batch_size=4):
    return list(
        input_pipeline.make_eval(
            FakeSplit(count), words, inputs=INPUTS, batch_size=batch_size, num_threads=2
        )
    )


def test_a_batch_has_the_documented_arrays(words):
    batch = next(train_batches(10, words))
    assert set(batch) == {"images", "text", "target", "index"}
    assert {name: x.shape for name, x in batch["images"].items()} == {
        "image": (4, SIZE, SIZE, 3),
        "half": (4, SIZE // 2, SIZE // 2, 3),
    }
    assert all(x.dtype == np.uint8 for x in batch["images"].values())
    assert batch["target"].shape == (4, SIZE, SIZE)
    assert set(np.unique(batch["target"])) == {0, 1}
    assert {name: x.shape for name, x in batch["text"].items()} == {
        "input_ids": (4, 6),
        "attention_mask": (4, 6),
    }
    for place, index in enumerate(batch["index"]):
        assert all((x[place] == index).all() for x in batch["images"].values())
        for name, tokens in words(f"tree number {index}").items():
            np.testing.assert_array_equal(batch["text"][name][place], tokens)


def test_stored_rows_come_with_their_samples_and_unusable_ones_are_left_out(words, tmp_path):
    np.save(tmp_path / "numbers.npy", np.arange(10))  # that of sample 0 is no use
    inputs = dataclasses.replace(
        INPUTS,
        arrays={"number": ArrayInput((), "int64")},
        usable=lambda rows: rows["number"] > 0,
    )
    rows = StoredRows({"number": (str(tmp_path / "numbers.npy"),)}, inputs, 10)
    taken = list(itertools.islice(train_batches(10, words, inputs=inputs, rows=rows), 9))
    for batch in taken:
        np.testing.assert_array_equal(batch["arrays"]["number"], batch["index"])
    counts = np.bincount(np.concatenate([batch["index"] for batch in taken]), minlength=10)
    assert counts.tolist() == [0, *[4] * 9]


def test_every_pass_sees_each_sample_once_in_another_order(words):
    taken = np.concatenate([b["index"] for b in itertools.islice(train_batches(10, words), 10)])
    passes = taken.reshape(4, 10)
    for one in passes:
        assert sorted(one) == list(range(10))
    assert len({tuple(one) for one in passes}) == 4


def test_the_seed_decides_the_order(words):
    def first(seed):
        return next(train_batches(10, words, seed=seed))["index"].tolist()

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_starting_late_gives_the_same_batches(words):
    whole = [b["index"].tolist() for b in itertools.islice(train_batches(10, words), 9)]
    late = train_batches(10, words, start_step=5)
    assert [b["index"].tolist() for b in itertools.islice(late, 4)] == whole[5:]


def test_hosts_share_one_global_batch(words, monkeypatch):
    whole = [set(b["index"]) for b in itertools.islice(train_batches(10, words), 5)]
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    shares = []
    for host in (0, 1):
        monkeypatch.setattr(jax, "process_index", lambda host=host: host)
        shares.append([b["index"] for b in itertools.islice(train_batches(10, words), 5)])
    for ours, first, second in zip(whole, *shares, strict=True):
        assert len(first) == len(second) == 2
        assert set(first) | set(second) == ours


def test_too_few_samples_for_a_batch_are_refused(words):
    with pytest.raises(ValueError, match="fewer than one batch of 4"):
        train_batches(3, words)


@pytest.mark.parametrize("count", [1, 4, 7, 8])
def test_evaluation_sees_every_sample_once_in_order(count, words):
    batches = eval_batches(count, words)
    taken = np.concatenate([b["index"] for b in batches])
    assert taken[:count].tolist() == list(range(count))
    assert (taken[count:] == -1).all()
    assert all(len(b["index"]) == 4 for b in batches)
    for batch in batches:  # what fills the last one up is a sample that the model can read
        for place in np.flatnonzero(batch["index"] == -1):
            jax.tree.map(
                lambda filling, first, place=place: np.testing.assert_array_equal(
                    filling[place], first[0]
                ),
                {**batch, "index": np.zeros(4)},
                {**batches[0], "index": np.zeros(4)},
            )


def test_unknown_datasets_and_missing_folders_are_refused():
    for name in ("coco", "", "../refsegrs", "referring"):
        with pytest.raises(
            ValueError, match=r"known are refsegrs, risbench, rrsisd, uavid_ris, vdd"
        ):
            datasets.prepare(name)
    with pytest.raises(ValueError, match="known are rrsisd/official, rrsisd/official_complete"):
        datasets.prepare("rrsisd/offical")
    for dataset in ("refsegrs/folder", "rrsisd", "risbench/official"):
        with pytest.raises(
            ValueError, match=rf"is '{dataset}'; say which: --config\.data\.folder="
        ):
            datasets.prepare(dataset)


def test_a_pixel_size_of_another_dataset_is_refused(tiny_config):
    tiny_config.data.dataset = "rrsisd"
    tiny_config.data.ground_sampling_distance = 0.1387
    with pytest.raises(ValueError, match=r"is 0\.1387, but the images of rrsisd have many pixel"):
        datasets.check_config(tiny_config)
    for dataset, distance in (("rrsisd", 0.0), ("rrsisd/folder", 0.3), ("refsegrs/official", 0.1)):
        tiny_config.data.dataset, tiny_config.data.ground_sampling_distance = dataset, distance
        datasets.check_config(tiny_config)


@pytest.mark.parametrize("finished", [True, False])
def test_two_runs_may_prepare_the_same_data_at_once(finished, scene_folder, monkeypatch, tmp_path):
    def prepare_behind_another(builder):
        if finished:
            really(builder)
        raise FileExistsError("Destination already exists.")

    really = tfds_refsegrs.Builder.download_and_prepare
    monkeypatch.setattr(tfds_refsegrs.Builder, "download_and_prepare", prepare_behind_another)
    prepare = partial(datasets.prepare, "refsegrs/folder", tmp_path, scene_folder)
    if finished:
        assert len(datasets.open_split(prepare(), "train")) > 0
    else:
        with pytest.raises(FileExistsError, match="already exists"):
            prepare()


def test_shuffled_phrases_stay_in_their_scene_and_never_with_their_sample():
    giver = language_check.exchange(["a", "a", "b", "b", "b", "c", "d"], seed=0)
    assert sorted(giver) == list(range(7))
    assert not np.any(giver == np.arange(7))
    assert set(giver[:2]) == {0, 1}
    assert set(giver[2:5]) == {2, 3, 4}
    assert set(giver[5:]) == {5, 6}


def test_shuffling_exchanges_the_phrase_and_nothing_else():
    source = FakeSplit(4, scenes=[7, 7, 8, 8])
    undecoded = [{**source[i], "image": bytes([0, 0, 1, 1][i : i + 1])} for i in range(4)]
    shuffled = language_check.ShuffledPhrases(source, undecoded, seed=0)
    assert len(shuffled) == 4
    assert [shuffled[i]["expression"] for i in range(4)] == [
        "tree number 1",
        "tree number 0",
        "tree number 3",
        "tree number 2",
    ]
    np.testing.assert_array_equal(shuffled[2]["image"], source[2]["image"])


def shift(example, rng):
    return {**example, "image": example["image"] + rng.integers(1, 50, dtype=np.uint8)}


def test_random_changes_resume_and_differ_between_passes(words):
    def images(start, count):
        batches = train_batches(10, words, augment=shift, start_step=start)
        return [
            b["images"]["image"] - b["index"][:, None, None, None]
            for b in itertools.islice(batches, count)
        ]

    whole, late = images(0, 9), images(5, 4)
    np.testing.assert_array_equal(whole[5:], late)
    assert len(np.unique([batch[:, 0, 0, 0] for batch in whole])) > 10


def test_random_changes_do_not_depend_on_the_number_of_hosts(words, monkeypatch):
    def images(hosts, host):
        monkeypatch.setattr(jax, "process_count", lambda: hosts)
        monkeypatch.setattr(jax, "process_index", lambda: host)
        return next(train_batches(10, words, augment=shift))["images"]["image"]

    whole = images(1, 0)
    np.testing.assert_array_equal(
        np.stack([images(2, 0), images(2, 1)], 1).reshape(whole.shape), whole
    )
