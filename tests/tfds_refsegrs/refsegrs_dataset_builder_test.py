import pathlib
import pickle
import shutil
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import tfds_refsegrs
from tfds_refsegrs import refsegrs_dataset_builder

DUMMY = pathlib.Path(__file__).parents[2] / "tfds_refsegrs/dummy_data"
COUNTS = {"train": 3, "validation": 1, "test": 2}
TINY = {"num_scenes": (2, 1, 1), "size": 48}


class BuilderTest(tfds.testing.DatasetBuilderTestCase):
    """TFDS's own checks on the dummy data; `official` would miss its counts there."""

    DATASET_CLASS = tfds_refsegrs.Builder
    EXAMPLE_DIR = DUMMY
    BUILDER_CONFIG_NAMES_TO_TEST = ("folder",)
    SPLITS = COUNTS

    def test_session(self, **options):
        return super().test_session(**options)

    test_session.__test__ = False  # a helper of tf.test.TestCase that pytest takes for a test


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(DUMMY, tmp_path / "data")
    return tmp_path / "data"


def prepared(tmp_path, name="refsegrs/folder", file_format="array_record", **options):
    builder = tfds.builder(name, data_dir=tmp_path / "tfds", file_format=file_format, **options)
    builder.download_and_prepare()
    return builder


def by_id(source):
    return {source[i]["image_id"].decode(): source[i] for i in range(len(source))}


def test_three_configs_official_by_default(tmp_path):
    assert list(tfds_refsegrs.Builder.builder_configs) == ["official", "folder", "synthetic"]
    assert tfds.builder("refsegrs", data_dir=tmp_path).info.full_name == "refsegrs/official/1.1.0"


@pytest.mark.parametrize(
    ("name", "options"), [("refsegrs/folder", {"path": DUMMY}), ("refsegrs/synthetic", TINY)]
)
def test_features(tmp_path, name, options):
    features = tfds.builder(name, data_dir=tmp_path, **options).info.features
    assert list(features) == ["image", "mask", "expression", "image_id", "category"]
    assert features["image"].shape == (None, None, 3)
    assert features["mask"].shape == (None, None, 1)
    assert features["image"].dtype == features["mask"].dtype == np.uint8
    assert tuple(features["category"].names) == tfds_refsegrs.CATEGORIES


def test_random_access_returns_the_files_pixels_and_text(tmp_path, folder):
    builder = prepared(tmp_path, path=folder)
    assert {split: len(builder.as_data_source(split)) for split in COUNTS} == COUNTS
    example = by_id(builder.as_data_source("train"))["1"]
    image = np.asarray(Image.open(folder / "images/1.tif"))
    mask = np.asarray(Image.open(folder / "masks/1.tif"))[..., None] > 50
    np.testing.assert_array_equal(example["image"], image)
    np.testing.assert_array_equal(example["mask"], mask)
    assert example["mask"].dtype == np.uint8
    assert example["expression"] == b"vehicle driving on the road"
    assert tfds_refsegrs.CATEGORIES[example["category"]] == "vehicle"


def test_load_reads_the_same_examples(tmp_path, folder):
    source = by_id(prepared(tmp_path, path=folder).as_data_source("test"))
    loaded = tfds.load(
        "refsegrs/folder",
        split="test",
        data_dir=tmp_path / "records",
        builder_kwargs={"path": folder},
    )
    examples = {example["image_id"].decode(): example for example in tfds.as_numpy(loaded)}
    assert examples.keys() == source.keys() == {"4", "5"}
    for image_id, example in examples.items():
        for key in ("image", "mask", "expression", "category"):
            np.testing.assert_array_equal(example[key], source[image_id][key])


def test_synthetic_in_both_formats(tmp_path):
    source = prepared(tmp_path, "refsegrs/synthetic", **TINY).as_data_source("test")
    loaded = tfds.load(
        "refsegrs/synthetic", split="test", data_dir=tmp_path / "records", builder_kwargs=TINY
    )
    examples = {example["image_id"].decode(): example for example in tfds.as_numpy(loaded)}
    expected = by_id(source)
    assert examples.keys() == expected.keys()
    assert {tfds_refsegrs.scene_of(image_id) for image_id in expected} == {"scene00003"}
    for image_id, example in examples.items():
        assert example["image"].shape == (48, 48, 3)
        for key in ("image", "mask", "expression", "category"):
            np.testing.assert_array_equal(example[key], expected[image_id][key])


def test_synthetic_options_name_the_config(tmp_path):
    builder = tfds.builder("refsegrs/synthetic", data_dir=tmp_path, seed=5, **TINY)
    assert builder.builder_config.name == "synthetic_2-1-1_size48_seed5"
    with pytest.raises(ValueError, match="reads no folder, but path='/x'; use the config `folder`"):
        tfds.builder("refsegrs/synthetic", data_dir=tmp_path, path="/x")
    with pytest.raises(ValueError, match=r"reads files, but got {'size': 48}; .* `synthetic`"):
        tfds.builder("refsegrs/folder", data_dir=tmp_path, size=48)


def test_the_rule_of_the_target_names_the_config(tmp_path, folder):
    for i in range(6):
        file = folder / f"masks/{i}.tif"
        Image.fromarray(np.asarray(Image.open(file)) // 255 * np.uint8(7)).save(file)
    with pytest.raises(tfds_refsegrs.LayoutError, match="unclear, with values 0, 7 in"):
        prepared(tmp_path, path=folder)
    for rule, name in (("nonzero", "nonzero"), (7, "7")):
        builder = prepared(tmp_path, path=folder, foreground=rule)
        assert builder.builder_config.name.split("_")[2:] == [name]
        mask = by_id(builder.as_data_source("train"))["1"]["mask"]
        expected = np.asarray(Image.open(folder / "masks/1.tif"))[..., None] == 7
        np.testing.assert_array_equal(mask, expected)
    with pytest.raises(ValueError, match=r"foreground is 'red'; expected 'above 50', 'nonzero' or"):
        tfds.builder("refsegrs/folder", data_dir=tmp_path, foreground="red")
    with pytest.raises(ValueError, match=r"reads no folder, but foreground='nonzero'; use the"):
        tfds.builder("refsegrs/synthetic", data_dir=tmp_path, foreground="nonzero")


def test_a_phrase_file_without_lines_makes_no_split(tmp_path, folder):
    (folder / "output_phrase_val.txt").write_text("")
    assert sorted(prepared(tmp_path, path=folder).info.splits) == ["test", "train"]


def test_changed_folder_is_prepared_anew(tmp_path, folder):
    before = prepared(tmp_path, path=folder)
    phrases = folder / "output_phrase_val.txt"
    phrases.write_text(phrases.read_text().replace("light-duty vehicle", "long truck"))
    after = prepared(tmp_path, path=folder)
    assert before.builder_config.name.startswith("folder_")
    assert before.data_dir != after.data_dir
    assert before.as_data_source("validation")[0]["expression"] == b"light-duty vehicle"
    assert after.as_data_source("validation")[0]["expression"] == b"long truck"


def test_prepared_folder_is_found_by_its_name(tmp_path, folder):
    name = prepared(tmp_path, path=folder).builder_config.name
    shutil.rmtree(folder)
    builder = tfds.builder(f"refsegrs/{name}", data_dir=tmp_path / "tfds")
    assert len(builder.as_data_source("train")) == COUNTS["train"]


def test_builder_survives_pickling(tmp_path, folder):
    builder = prepared(tmp_path, file_format="tfrecord", path=folder)
    assert pickle.loads(pickle.dumps(builder)).data_dir == builder.data_dir


def test_folder_from_manual_dir(tmp_path, folder):
    builder = tfds.builder("refsegrs/folder", data_dir=tmp_path / "tfds")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=folder))
    assert builder.info.splits["train"].num_examples == COUNTS["train"]


def test_official_unpacked_into_the_default_manual_dir(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(refsegrs_dataset_builder, "OFFICIAL_COUNTS", COUNTS)
    shutil.copytree(folder, tmp_path / "tfds/downloads/manual/RefSegRS")
    builder = prepared(tmp_path, "refsegrs/official")
    assert len(builder.as_data_source("train")) == COUNTS["train"]


def test_folder_without_any_says_what_to_give(tmp_path):
    builder = tfds.builder("refsegrs/folder", data_dir=tmp_path)
    with pytest.raises(AssertionError, match=r'builder_kwargs={"path": ...}'):
        builder.download_and_prepare()


@pytest.mark.parametrize("given", ["path", "manual_dir"])
def test_bad_folder_leaves_nothing_behind(tmp_path, folder, given):
    (folder / "images/0.tif").unlink()
    (folder / "masks/5.tif").unlink()
    options = {given: folder}
    if given == "path":
        builder = tfds.builder("refsegrs/folder", data_dir=tmp_path / "tfds", **options)
        config = None
    else:
        builder = tfds.builder("refsegrs/folder", data_dir=tmp_path / "tfds")
        config = tfds.download.DownloadConfig(**options)
    with pytest.raises(tfds_refsegrs.LayoutError) as caught:
        builder.download_and_prepare(download_config=config)
    assert len(caught.value.problems) == 2
    assert not (tmp_path / "tfds").exists()


def test_unknown_path_is_refused_at_once(tmp_path):
    with pytest.raises(tfds_refsegrs.LayoutError, match="is not a folder; give the one"):
        tfds.builder("refsegrs/folder", data_dir=tmp_path, path=tmp_path / "absent")


def test_official_checks_its_counts(tmp_path, folder, monkeypatch):
    with pytest.raises(tfds_refsegrs.LayoutError, match=r"found train 3, .* expected train 2172"):
        prepared(tmp_path, "refsegrs/official", path=folder)
    monkeypatch.setattr(refsegrs_dataset_builder, "OFFICIAL_COUNTS", COUNTS)
    builder = prepared(tmp_path, "refsegrs/official", path=folder)
    assert builder.builder_config.name.startswith("official_")
    assert len(builder.as_data_source("test")) == COUNTS["test"]


def test_official_unpacks_its_download(tmp_path, folder, monkeypatch):
    archive = tmp_path / "RefSegRS.zip"
    with zipfile.ZipFile(archive, "w") as writer:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            writer.write(file, f"RefSegRS/{file.relative_to(folder)}")
    monkeypatch.setattr(refsegrs_dataset_builder, "OFFICIAL_COUNTS", COUNTS)
    monkeypatch.setattr(
        tfds.download.DownloadManager,
        "download",
        lambda self, url: archive if url == refsegrs_dataset_builder.URL else None,
    )
    monkeypatch.setattr(
        tfds.download.DownloadManager,
        "download_and_extract",
        lambda self, url: self.extract(self.download(url)),
    )
    other = tmp_path / "tfds/downloads/manual/of_another_dataset.zip"  # TFDS's default manual_dir
    other.parent.mkdir(parents=True)
    other.touch()
    builder = prepared(tmp_path, "refsegrs/official")
    assert builder.info.full_name == "refsegrs/official/1.1.0"
    assert len(builder.as_data_source("train")) == COUNTS["train"]


def test_archive_members_stay_inside(tmp_path):
    """The builder relies on TFDS for this, so a change there must be noticed."""
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as writer:
        for name in ("../up.txt", "a/../../up.txt", "/up.txt", "fine/in.txt"):
            writer.writestr(name, "x")
    members = tfds.download.iter_archive(archive, tfds.download.ExtractMethod.ZIP)
    assert [path for path, _ in members] == ["fine/in.txt"]
