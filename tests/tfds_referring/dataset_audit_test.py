"""Every fault that is planted into a tree is found, and none is invented."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from tests.tfds_referring import made_trees
from tests.tfds_referring.made_trees import BUILDERS, COUNTS, rle, save
from tfds_referring import __main__, audit, dataset_audit


@pytest.fixture
def audit_of(make_builder):
    """Audits "<dataset>/<config>"; making the builder sets the official counts."""

    def run(name, tree):
        dataset, _, config = name.partition("/")
        make_builder(dataset)
        return dataset_audit.audit_tree(dataset, tree, config or "official")

    return run


def kinds(found):
    return [
        (finding.kind, {record.name for record in finding.records}) for finding in found.findings
    ]


@pytest.mark.parametrize("dataset", BUILDERS)
def test_a_clean_tree_has_no_findings(audit_of, tmp_path, dataset):
    found = audit_of(dataset, BUILDERS[dataset](tmp_path / "tree"))
    assert kinds(found) == []
    number = sum(part["triplets"] for part in found.statistics["splits"].values())
    assert number == sum(COUNTS[dataset].values()) - len(found.left_out)
    specks = sum(part["masks with specks"] for part in found.statistics["splits"].values())
    assert (specks > 0) == (dataset == "rrsisd")


def test_specks_are_gone_where_they_are_removed(audit_of, tmp_path):
    tree = made_trees.rrsisd(tmp_path / "tree")
    clean = audit_of("rrsisd/official_despeckled", tree).statistics["splits"]
    assert {part["specks"] for part in clean.values()} == {0}


def test_sizes_are_of_pixels_and_not_of_area(audit_of, tmp_path):
    tree = made_trees.rrsisd(tmp_path / "tree")
    found = audit_of("rrsisd", tree)
    instances = json.loads((tree / "rrsisd/instances.json").read_text())
    for record, annotation in zip(found.records, instances["annotations"], strict=True):
        assert record.share * 48 * 48 < annotation["area"] / 100


def test_planted_faults_of_rrsisd(audit_of, tmp_path):
    tree = made_trees.rrsisd(tmp_path / "tree")
    images = tree / "images/rrsisd/JPEGImages"
    (images / "03600.jpg").write_bytes((images / "00011.jpg").read_bytes())
    picture = np.asarray(Image.open(images / "02934.jpg")).astype(int)
    grain = np.random.default_rng(0).integers(-6, 7, picture.shape)
    save(np.clip(picture + grain, 0, 255).astype(np.uint8), images / "00110.jpg")
    file = tree / "rrsisd/instances.json"
    instances = json.loads(file.read_text())
    instances["annotations"][2]["segmentation"] = rle(np.zeros((48, 48)))
    instances["annotations"][3]["segmentation"] = rle(np.ones((48, 48)))
    file.write_text(json.dumps(instances))
    assert kinds(audit_of("rrsisd", tree)) == [
        ("empty mask", {"validation/110"}),
        ("full mask", {"test/3600"}),
        ("tile in several splits", {"train/11", "test/3600"}),
        ("near-duplicate tiles in several splits", {"train/2934", "validation/110"}),
    ]


def test_planted_faults_of_risbench(audit_of, tmp_path):
    tree = made_trees.risbench(tmp_path / "tree")
    mask = np.array(Image.open(tree / "mask/test_2_0.png"))
    mask[:2, :3] = [40, 60, 128]
    save(mask, tree / "mask/test_2_0.png")
    save(np.array(Image.open(tree / "mask/test_2_3.png")) // 255, tree / "mask/test_2_3.png")
    text = tree / "output_phrase_test.txt"
    text.write_text(text.read_text().replace("The lower plane", "the PIER and a boat"))
    found = audit_of("risbench", tree)
    assert kinds(found) == [
        ("values between", {"test/test_2_0"}),
        ("contradicting masks", {"test/test_2_3", "test/test_2_0"}),
    ]
    assert found.findings[0].detail == "3 of them, 40 to 128"
    assert [record.name for record in found.left_out] == ["train/train_6194_0"]


@pytest.mark.parametrize("name", ["uavid_ris", "vdd_ris"])
def test_planted_faults_of_the_drone_sets(audit_of, tmp_path, name):
    tree = made_trees.BUILDERS[name](tmp_path / "tree")
    file = tree / name / "refs(uow).p"
    refs = pickle.loads(file.read_bytes())
    refs[1]["sentences"] = refs[0]["sentences"]
    file.write_bytes(pickle.dumps(refs))
    assert kinds(audit_of(name, tree)) == [
        ("contradicting masks", {"train/1_0", "train/2_0"}),
        ("contradicting masks", {"train/1_1", "train/2_1"}),
    ]


def test_the_command_audits_tree_and_prepared_copy_alike(make_builder, tmp_path, capsys):
    tree = made_trees.risbench(tmp_path / "tree")
    builder = make_builder("risbench", path=tree)
    builder.download_and_prepare()
    name = builder.builder_config.name
    shared = ["audit", "--dataset", "risbench", "--output", str(tmp_path / "out")]
    __main__.main([*shared, "--manual_dir", str(tree)])
    before = json.loads((tmp_path / "out/audit.json").read_text())
    assert (
        "Left out as known to be broken: 1\n\n- train/train_6194_0: its" in capsys.readouterr().out
    )
    __main__.main([*shared, "--data_dir", str(tmp_path / "tfds"), "--config", name])
    after = json.loads((tmp_path / "out/audit.json").read_text())
    assert before["left out"] == after["left out"] != []
    for split, part in before["statistics"]["splits"].items():
        assert after["statistics"]["splits"][split] == part
    assert before["statistics"]["splits"]["test"]["categories"] == {"airplane": 1, "harbor": 1}
    with pytest.raises(ValueError, match=r"RefSegRS's layout: risbench knows which pixels of its"):
        __main__.main([*shared, "--manual_dir", str(tree), "--foreground", "nonzero"])
    with pytest.raises(ValueError, match=r"no prepared config 'x' of rrsisd; it has: none"):
        audit.audit_prepared(tmp_path, "x", "rrsisd")
    with pytest.raises(ValueError, match=r"There is no dataset 'x'; known are refsegrs, risbench"):
        dataset_audit.audit_tree("x", tree)
