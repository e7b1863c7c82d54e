"""Several datasets at once: every sample of each is trained on, in the wanted shares, resumably."""

import itertools
import json
import os
import pathlib
import shutil

import numpy as np
import pytest

from rrsis_jax.configuration import schema
from rrsis_jax.data import annotations, contents, datasets, mixtures, run_data
from rrsis_jax.evaluation import evaluate, sample_table
from rrsis_jax.models import registry
from rrsis_jax.reporting import report as report_page
from rrsis_jax.training import train
from tests import small_config
from tests.tfds_referring import made_trees
from tfds_refsegrs.synthetic import triplets

NAMES = "refsegrs/folder+uavid_ris"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of rendered scenes and a tree of UAVid-RIS, as `data.folder` names them."""
    root = tmp_path_factory.mktemp("mixture")
    triplets.write_folder(root / "scenes", (2, 1, 1), size=48)
    made_trees.uavid_ris(root / "uavid")
    return os.pathsep.join([str(root / "scenes"), str(root / "uavid")])


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


def on_both(config, folders, data_dir):
    config.data.dataset = NAMES
    config.data.folder = folders
    config.data.data_dir = data_dir
    return config


@pytest.fixture
def config(tiny_config, folders, data_dir):
    return on_both(tiny_config, folders, data_dir)


def open_data(config, folder, evaluated=None):
    return run_data.open_data(config, folder, registry.build(config), evaluated)


@pytest.fixture
def mixture(folders, data_dir):
    return datasets.prepare(NAMES, data_dir, folders)


def test_all_parts_behind_one_another_and_one_by_one(mixture):
    scenes, drone = (part.info.splits for part in mixture.parts.values())
    for split in ("train", "validation", "test"):
        whole = datasets.open_split(mixture, split)
        own = [datasets.open_split(mixture, name) for name in mixture.evaluated(split)]
        assert mixture.evaluated(split) == [f"{split}_refsegrs", f"{split}_uavid_ris"]
        assert [len(part) for part in own] == mixture.sizes(split)
        assert mixture.sizes(split) == [scenes[split].num_examples, drone[split].num_examples]
        ids = [example["image_id"] for example in whole]
        assert ids == [example["image_id"] for part in own for example in part]
        assert len(set(ids)) == len(ids) == sum(mixture.sizes(split))
    with pytest.raises(ValueError, match=r"no split 'x' in refsegrs/folder_.* it has train, "):
        datasets.open_split(mixture, "x")
    with pytest.raises(IndexError):
        datasets.open_split(mixture, "test")[len(datasets.open_split(mixture, "test"))]


def test_samples_keep_what_they_are(mixture):
    described = annotations.describe(mixture, "train")
    parts = [annotations.describe(part, "train") for part in mixture.parts.values()]
    for sample, own in zip(described, itertools.chain(*parts), strict=True):
        assert sample.image_id.partition("/")[2] == own.image_id
        assert (sample.phrase, sample.category, sample.tile) == (own.phrase, own.category, own.tile)
    assert {"low vegetation", "building"} <= {sample.category for sample in described}


def indices(data, start, steps):
    batches = data.train_batches(start)
    return np.concatenate([next(batches)["index"] for _ in range(steps)]).tolist()


@pytest.mark.parametrize("weights", [(), (1.0, 1.0), (3.0, 1.0)])
def test_shares_follow_the_weights_and_a_late_start_goes_on_alike(config, tmp_path, weights):
    config.data.weights = weights
    data = open_data(config, tmp_path)
    first, second = data.builder.sizes("train")
    steps = first + second  # of four samples: four passes
    drawn = indices(data, 0, steps)
    share = np.mean(np.array(drawn) < first)
    expected = weights[0] / sum(weights) if weights else first / (first + second)
    assert share == pytest.approx(expected, abs=0.02)
    assert set(drawn) == set(range(first + second))
    assert indices(data, steps // 2, 5) == drawn[4 * (steps // 2) :][:20]
    assert indices(data, 0, 5) == drawn[:20]
    passes = [i for i in drawn if i >= first]
    assert sorted(passes[:second]) == list(range(first, first + second))  # each once in a pass


def test_one_vocabulary_has_the_words_of_all(config, tmp_path):
    words = open_data(config, tmp_path).tokenizer
    phrases = datasets.phrases(
        datasets.open_split(
            datasets.prepare(NAMES, config.data.data_dir, config.data.folder),
            "train",
            decode=False,
        )
    )
    assert {"building", "qwen"} <= {word for phrase in phrases for word in phrase.lower().split()}
    assert not any(words.unread_words(phrase) for phrase in phrases)
    assert words.unread_words("building 水") == ("水",)


def test_contents_are_kept_beside_each_part(mixture, monkeypatch):
    whole = contents.read(mixture)
    parts = {name: contents.read(part) for name, part in mixture.parts.items()}
    assert whole.splits == {
        f"{split}_{name}": part.splits[split]
        for name, part in parts.items()
        for split in part.splits
    }
    assert whole.phrases["test_uavid_ris"] == parts["uavid_ris"].phrases["test"]
    monkeypatch.setattr(contents, "_digest", None)  # no file is read again
    assert contents.read(mixture) == whole


def test_the_checks_of_a_run_hold_for_each_part(config, tmp_path):
    data = open_data(config, tmp_path)
    assert data.evaluated("test") == ["test_refsegrs", "test_uavid_ris"]
    assert data.evaluated("test_uavid_ris") == ["test_uavid_ris"]
    data.keep(tmp_path)
    file = tmp_path / contents.FILE
    kept = json.loads(file.read_text())
    kept["test_uavid_ris"]["masks"] = "0" * 64
    file.write_text(json.dumps(kept))
    open_data(config, tmp_path, "validation")
    open_data(config, tmp_path, "test_refsegrs")
    for evaluated in (None, "test", "test_uavid_ris"):
        with pytest.raises(ValueError, match=r"began with:\n  test_uavid_ris: other masks\nGive"):
            open_data(config, tmp_path, evaluated)
    with pytest.raises(ValueError, match=r"no split 'tset' in refsegrs/folder_.* it has train, "):
        open_data(config, tmp_path, "tset")


def test_a_run_on_two_datasets_reports_each(folders, data_dir, tmp_path):
    config = on_both(small_config.get_config(), folders, data_dir)
    config.data.weights = (1.0, 2.0)
    config.train.epochs = 1.0
    config.eval.num_pictures = 0
    report = train.train(config, str(tmp_path))
    sizes = {"validation": (6, 2), "test": (6, 2)}
    assert {name: scores["samples"] for name, scores in report["splits"].items()} == {
        f"{split}_{name}": size
        for split, pair in sizes.items()
        for name, size in zip(("refsegrs", "uavid_ris"), pair, strict=True)
    }
    assert report["history"][-1]["samples"] == sum(sizes["validation"])
    again = evaluate.evaluate_run(config, str(tmp_path), "test")
    for name in ("test_refsegrs", "test_uavid_ris"):
        assert again["splits"][name]["mIoU"] == report["splits"][name]["mIoU"]
        assert (tmp_path / f"evaluation_{name}.csv").is_file()
    page = report_page.write_report(str(tmp_path), "test_uavid_ris", None, 1)
    assert "uavid_ris/" in pathlib.Path(page).read_text()
    with pytest.raises(
        ValueError, match=r"no evaluation of the split 'train_uavid_ris': .*=train`"
    ):
        sample_table.load(tmp_path, "train_uavid_ris")


def test_mistakes_are_told(config, folders, data_dir):
    one, other = folders.split(os.pathsep)
    with pytest.raises(ValueError, match=r"names 2 datasets, but data\.folder 1 folder\(s\): "):
        datasets.prepare(NAMES, data_dir, one)
    with pytest.raises(ValueError, match=r"is 'uavid_ris'; say which: --config\.data\.folder"):
        datasets.prepare("refsegrs/folder+uavid_ris", data_dir, f"{one}{os.pathsep}")
    with pytest.raises(ValueError, match="There is no dataset 'coco'; known are"):
        datasets.prepare("uavid_ris+coco", data_dir, f"{other}{os.pathsep}{one}")
    with pytest.raises(ValueError, match=r"names a dataset twice: uavid_ris/official_.* Name each"):
        datasets.prepare("uavid_ris+uavid_ris", data_dir, f"{other}{os.pathsep}{other}")
    with pytest.raises(ValueError, match=r"is 'nonzero', but uavid_ris knows which pixels of its"):
        datasets.prepare("uavid_ris", data_dir, other, "nonzero")
    config.data.weights = (1.0,)
    with pytest.raises(ValueError, match=r"data\.weights has 1 numbers, but data\.dataset 2 data"):
        datasets.check_config(config)
    config.data.weights = (1.0, -1.0)
    with pytest.raises(
        ValueError, match=r"data\.weights is \(1\.0, -1\.0\); it must be any number"
    ):
        schema.check(config)


def test_the_rule_of_the_target_goes_to_the_layout_that_asks_for_it(folders, data_dir):
    parts = datasets.prepare(NAMES, data_dir, folders, "nonzero").parts
    assert parts["refsegrs"].builder_config.foreground == "nonzero"
    assert parts["uavid_ris"].builder_config.name == (
        datasets.prepare("uavid_ris", data_dir, folders.split(os.pathsep)[1]).builder_config.name
    )


def test_a_share_for_a_part_that_has_no_training_is_refused(config, tmp_path, folders):
    root = shutil.copytree(folders.split(os.pathsep)[0], tmp_path / "scenes")
    (root / "output_phrase_train.txt").write_text("")
    config.data.folder = os.pathsep.join([str(root), folders.split(os.pathsep)[1]])
    config.data.weights = (1.0, 1.0)
    config.train.batch_size = 1
    with pytest.raises(ValueError, match=r"but refsegrs has no training sample to give a share"):
        open_data(config, tmp_path / "run").train_batches(0)
    config.data.weights = ()
    assert next(open_data(config, tmp_path / "run").train_batches(0))["index"].shape == (1,)


def test_two_configs_of_one_dataset_are_named_apart(folders, data_dir):
    one, other = folders.split(os.pathsep)
    made = [datasets.prepare("refsegrs/folder", data_dir, one)]
    made.append(datasets.prepare("uavid_ris/official_llama", data_dir, other))
    made.append(datasets.prepare("uavid_ris", data_dir, other))
    names = list(mixtures.Mixture(made).parts)
    assert names[0] == "refsegrs"
    assert names[1].startswith("uavid_ris_official_llama_")
    assert names[2].startswith("uavid_ris_official_")
