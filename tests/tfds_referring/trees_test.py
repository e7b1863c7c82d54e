"""Every tree that a dataset is found in is read alike; every fault in one is told."""

import json
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.tfds_referring import made_trees
from tests.tfds_referring.made_trees import BUILDERS, COUNTS, noise, ref, rle, save
from tfds_refsegrs import LayoutError


@pytest.fixture
def rrsisd(tmp_path):
    return made_trees.rrsisd(tmp_path / "data")


@pytest.fixture
def risbench(tmp_path):
    return made_trees.risbench(tmp_path / "data")


@pytest.fixture
def vdd_ris(tmp_path):
    return made_trees.vdd_ris(tmp_path / "data")


def change(root, edit, refs="rrsisd/refs(unc).p", instances="rrsisd/instances.json"):
    """Lets `edit` change refs and instances of a tree in place."""
    pairs = pickle.loads((root / refs).read_bytes()), json.loads((root / instances).read_text())
    edit(*pairs)
    (root / refs).write_bytes(pickle.dumps(pairs[0], 2))
    (root / instances).write_text(json.dumps(pairs[1]))


def values(reading):
    """What a reading says, apart from the places of its files."""
    return [
        (s.split, s.image_id, s.phrase, s.image.name, s.category, s.scene, s.mask().tolist())
        for s in reading.samples
    ]


@pytest.mark.parametrize("dataset", BUILDERS)
def test_the_folder_around_serves_too(make_builder, tmp_path, dataset):
    inner = BUILDERS[dataset](tmp_path / "outer/data")
    expected = values(make_builder(dataset).read(inner))
    assert len(expected) == sum(COUNTS[dataset].values()) - (dataset == "risbench")
    assert values(make_builder(dataset).read(inner.parent)) == expected


def test_rrsisd_without_the_inner_folder_and_beside_another_set(make_builder, tmp_path, rrsisd):
    expected = values(make_builder("rrsisd").read(rrsisd))
    made_trees.nwpu(tmp_path / "data/nwpu")
    (tmp_path / "data/nwpu/new_instances.json").rename(tmp_path / "data/nwpu/instances.json")
    (tmp_path / "data/nwpu/new_refs(unc).p").rename(tmp_path / "data/nwpu/refs(unc).p")
    assert values(make_builder("rrsisd").read(rrsisd)) == expected
    shutil.rmtree(tmp_path / "data/nwpu")
    for file in (rrsisd / "rrsisd").iterdir():
        file.rename(rrsisd / file.name)
    (rrsisd / "rrsisd").rmdir()
    assert values(make_builder("rrsisd").read(rrsisd)) == expected


def test_rrsisd_reads_alike_without_its_pickle(make_builder, rrsisd):
    expected = make_builder("rrsisd").read(rrsisd)
    (rrsisd / "rrsisd/refs(unc).p").unlink()
    read = make_builder("rrsisd/official_xml").read(rrsisd)
    assert values(read) == values(expected)
    for one, other in zip(read.samples, expected.samples, strict=True):
        np.testing.assert_array_equal(one.extras["box"], other.extras["box"])


def test_rrsisds_masks_are_what_its_authors_stored(make_builder, rrsisd):
    reading = make_builder("rrsisd").read(rrsisd)
    first = reading.samples[0]
    box = first.extras["box"].astype(int).tolist()
    np.testing.assert_array_equal(first.mask(), made_trees.lossy(box) > 0)
    assert first.mask().sum() > (box[2] - box[0]) * (box[3] - box[1])
    assert (first.image_id, first.category, first.scene) == ("11", "harbor", "00011")
    clean = make_builder("rrsisd/official_despeckled").read(rrsisd).samples[0]
    assert clean.mask().sum() < first.mask().sum()
    assert clean.mask()[box[1] : box[3], box[0] : box[2]].all()


@pytest.mark.parametrize("pixels", ["PNGImages", "PNGimages"])
def test_the_drone_sets_in_both_spellings(make_builder, vdd_ris, pixels):
    folder = vdd_ris / "images/vdd_ris/PNGimages"
    folder.rename(folder.with_name("x"))
    folder.with_name("x").rename(folder.with_name(pixels))
    reading = make_builder("vdd_ris").read(vdd_ris)
    qwen, more = reading.samples[:2]
    assert (qwen.image_id, more.image_id, qwen.scene) == ("1_0", "1_1", "train_DJI_0008")
    assert qwen.category == more.category == "roof"
    assert qwen.mask().sum() == 425  # overlapping squares are united
    assert reading.samples[2].mask().sum() == 225  # of a flat list
    assert qwen.extras["sentences"] == [qwen.phrase, more.phrase]


def test_the_drone_sets_have_two_texts(make_builder, tmp_path, vdd_ris):
    llama = make_builder("vdd_ris/official_llama").read(vdd_ris).samples[0]
    named = make_builder("vdd_ris/folder", path=vdd_ris, text="refs_llama(uow).p")
    assert named.read(vdd_ris).samples[0].phrase == llama.phrase == "the 1_roof of llama"
    first = make_builder("vdd_ris", path=vdd_ris, sentences="first")
    assert first.builder_config.name.startswith("official_first_")
    ids = [sample.image_id for sample in first.read(vdd_ris).samples]
    assert ids == ["1", "2", "3", "4"]
    with pytest.raises(ValueError, match=r"sentences is 'some'; expected one of all, first"):
        make_builder("vdd_ris", sentences="some")
    with pytest.raises(ValueError, match=r"'official' knows its files, but text is 'x.p'"):
        make_builder("vdd_ris", text="x.p")


def test_an_uavid_scene_is_its_sequence(make_builder, tmp_path):
    root = made_trees.uavid_ris(tmp_path / "data")
    reading = make_builder("uavid_ris").read(root)
    scenes = {split: {s.scene for s in part} for split, part in reading.splits().items()}
    assert scenes == {"train": {"seq1"}, "validation": {"seq16"}, "test": {"seq21"}}
    assert reading.samples[2].category == "low vegetation"


@pytest.mark.parametrize("images", ["image", "image/image"])
def test_a_folder_in_refers_layout(make_builder, tmp_path, images):
    root = made_trees.nwpu(tmp_path / "data", images)
    builder = make_builder("rrsisd/folder", path=root)
    assert builder.info.features["category"].names == ["plane", "ship", "other"]
    first, second = builder.read(root).samples
    assert first.mask().sum() == 225 + 196  # two refs of one sentence are one target
    assert (second.split, second.phrase, second.category) == ("validation", "左上方的船", "ship")


def test_a_folder_takes_its_classes_from_the_path(make_builder, tmp_path):
    with pytest.raises(ValueError, match=r"rrsisd/folder takes its classes from the folder"):
        make_builder("rrsisd/folder")
    with pytest.raises(LayoutError, match="is not a folder; give the one that holds the dataset"):
        make_builder("rrsisd/folder", path=tmp_path / "absent")
    with pytest.raises(ValueError, match=r"no file instances\.json or new_"):
        make_builder("rrsisd/folder", path=tmp_path)


def test_risbenchs_ids_with_and_without_suffix(make_builder, risbench):
    expected = make_builder("risbench").read(risbench)
    assert [s.image_id for s in expected.samples] == [
        "train_1_0",
        "train_0_0",
        "train_14700_0",
        "test_2_3",
        "test_2_0",
    ]
    first, _, parked, plane, pier = expected.samples
    said = values(expected)
    assert first.phrase == "The baseball field on the top ."
    assert (first.category, parked.category, plane.category) == (
        "baseball diamond",
        "vehicle",
        "airplane",
    )
    assert (parked.scene, plane.scene, pier.scene) == ("train_14700", "test_2", "test_2")
    for file in risbench.glob("*.txt"):
        file.write_text(file.read_text().replace(".png ", " "))
    (risbench / "img_rgb").rename(risbench / "images")
    (risbench / "mask").rename(risbench / "masks")
    for file in sorted((risbench / "masks").iterdir()):  # 0/1 instead of 0/255
        save(np.array(Image.open(file)) // 255, file)
    assert values(make_builder("risbench").read(risbench)) == said


def test_a_phrase_without_a_word(make_builder, problems_of, risbench):
    (left_out,) = make_builder("risbench").read(risbench).left_out
    assert (left_out.name, left_out.reason) == ("train/train_6194_0", "its phrase is '.'")
    complete = make_builder("risbench/official_complete").read(risbench)
    assert len(complete.samples) == 6
    assert complete.samples[2].phrase == "."
    assert problems_of("risbench/folder", risbench) == (
        "output_phrase_train.txt:3: the phrase '.' has no word; say what is meant",
    )
    text = (risbench / "output_phrase_train.txt").read_text()
    (risbench / "output_phrase_train.txt").write_text(text.replace("6194_0", "6195_0"))
    for folder in ("img_rgb", "mask"):
        file = risbench / folder / "train_6194_0.png"
        file.rename(file.with_name("train_6195_0.png"))
    (left_out,) = make_builder("risbench").read(risbench).left_out
    assert left_out.reason == "the phrase '.' has no word"


def test_faults_of_a_phrase_folder_are_told_at_once(problems_of, risbench):
    (risbench / "mask/train_1_0.png").unlink()
    Image.new("RGB", (48, 48), "red").save(risbench / "mask/test_2_0.png")
    save(noise(0, 40), risbench / "img_rgb/test_2_3.png")
    (risbench / "img_rgb/train_0_0.png").write_bytes(b"no image")
    (risbench / "output_phrase_val.txt").write_text(
        "train_14700_0.png a car\n../x.png a car\nmy x\n"
    )
    (risbench / "output_phrase_train.txt").write_text(
        "train_1_0.png a ship\ntrain_0_0.png a dam\ntrain_0_0.png a dam\n"
    )
    expected = [
        "output_phrase_val.txt:2: id '../x.png' leaves the folder; use a plain file name",
        "output_phrase_train.txt:1: mask/train_1_0.png missing (of 7 samples 5 have their files)",
        "output_phrase_val.txt:3: img_rgb/my and mask/my missing",
        "output_phrase_train.txt:3: id 'train_0_0' again, first at output_phrase_train.txt:2",
        "output_phrase_train.txt:2: img_rgb/train_0_0.png cannot be decoded",
        "output_phrase_test.txt:1: image test_2_3.png is 40x40 but its mask is 48x48",
        "output_phrase_test.txt:2: its mask mask/test_2_0.png has colours, not grey",
    ]
    problems = problems_of("risbench/folder", risbench)
    unmatched = [start for start in expected if not any(p.startswith(start) for p in problems)]
    assert not unmatched, problems
    assert len(problems) == len(expected)


def test_missing_text_names_what_is_there(problems_of, tmp_path, risbench):
    (risbench / "output_phrase_val.txt").unlink()
    assert problems_of("risbench/folder", risbench)[0].startswith(
        "output_phrase_val.txt: missing; the folder has img_rgb, mask, output_phrase_test.txt"
    )
    (tmp_path / "empty").mkdir()
    problems = problems_of("rrsisd", tmp_path / "empty")
    assert "no file instances.json or new_instances.json in the folder or up to 4" in problems[0]
    assert "no file refs(unc).p in the folder" in problems[1]


def test_faults_of_refers_files_are_told_at_once(problems_of, rrsisd):
    def edit(refs, instances):
        refs[0]["ann_id"] = 9
        refs[3]["split"] = None
        instances["images"][1]["height"] = 50
        instances["images"][2]["file_name"] = "../110.jpg"
        refs += [ref(12, "train", 3, "more", image=11), ref(13, "train", 3, "more", image=110)]
        annotations = instances["annotations"]
        annotations[3]["category_id"] = 99
        annotations += [
            {**annotations[0], "id": 12, "segmentation": [{"size": [48, 48], "counts": "0i0"}]},
            {**annotations[0], "id": 13, "bbox": None},
            {**annotations[0], "id": 14, "categories_id": "x", "bbox": [1, 2]},
        ]

    change(rrsisd, edit)
    (rrsisd / "images/rrsisd/JPEGImages/03600.jpg").write_bytes(b"")
    expected = [
        "instances.json: images: record 3 has the file_name '../110.jpg', which leaves the folder",
        "instances.json: annotations: record 4 has two classes: category_id and categories_id",
        "instances.json: annotations: record 7 has the bbox [1, 2]; expected four numbers",
        "refs(unc).p: ref 3600 has the split None; expected train, val or test",
        "refs(unc).p: ref 11: instances.json has no annotation 9",
        "refs(unc).p: ref 110: instances.json has no image 110",
        "refs(unc).p: ref 13: instances.json has no image 110",
        "refs(unc).p: ref 2934: its mask has a run-length encoding of size [48, 48], but its image "
        "is [50, 48]",
        "refs(unc).p: ref 12: its mask has runs over 25 pixels, but its image has 2304",
    ]
    problems = problems_of("rrsisd/folder", rrsisd)
    unmatched = [start for start in expected if not any(p.startswith(start) for p in problems)]
    assert not unmatched, problems
    assert len(problems) == len(expected)


def test_other_classes_counts_and_boxes_are_not_official(problems_of, rrsisd):
    def edit(refs, instances):
        refs.pop()
        instances["categories"][3]["name"] = "zeppelin"
        instances["annotations"][0].pop("bbox")

    change(rrsisd, edit)
    classes, box, counts = problems_of("rrsisd", rrsisd)
    assert classes.startswith("instances.json: the class 'zeppelin' is none of rrsisd's")
    assert box == "instances.json: annotation 11 has no bbox"
    assert counts == (
        "samples found train 2, validation 1, expected train 2, validation 1, test 1; if this is "
        "not the official rrsisd, use the config `folder`"
    )


def test_an_unfilled_polygon_is_no_empty_mask(problems_of, vdd_ris):
    def edit(refs, instances):
        instances["annotations"][2]["segmentation"] = []

    change(vdd_ris, edit, "vdd_ris/refs(uow).p", "vdd_ris/instances.json")
    problems = problems_of("vdd_ris", vdd_ris)
    assert [p.partition(": its mask ")[2] for p in problems] == [
        "has an empty segmentation; expected a run-length or polygons"
    ] * 2


def test_a_missing_image_of_a_small_tree_is_a_fault(problems_of, rrsisd):
    (rrsisd / "images/rrsisd/JPEGImages/00110.jpg").unlink()
    for config in ("official", "official_complete", "folder"):
        assert problems_of(f"rrsisd/{config}", rrsisd) == (
            "refs(unc).p: ref 110: JPEGImages/00110.jpg missing (of 4 samples 3 have their files)",
        )


def test_known_faults_and_few_missing_images_are_left_out(make_builder, problems_of, rrsisd):
    builder = make_builder("rrsisd")

    def edit(refs, instances):
        """Adds copies of a record: one that peers leave out, and a hundred more."""
        image, annotation = instances["images"][0], instances["annotations"][0]
        for number in (413, *range(5000, 5100)):
            refs.append(ref(number, "test", 11, "a thing"))
            instances["images"].append({**image, "id": number})
            instances["annotations"].append({**annotation, "id": number, "image_id": number})
        instances["images"][-1]["file_name"] = "absent.jpg"

    change(rrsisd, edit)
    builder.COUNTS = {"train": 2, "validation": 1, "test": 102}
    reading = builder.read(rrsisd)
    assert len(reading.samples) == 103
    assert [(x.name, x.reason) for x in reading.left_out] == [
        ("test/413", "left out by DiCoR's loader"),
        ("test/5099", "JPEGImages/absent.jpg missing"),
    ]
    (problem,) = problems_of("rrsisd/folder", rrsisd)
    assert problem.startswith("refs(unc).p: ref 5099: JPEGImages/absent.jpg missing (of 105")


def test_several_parts_are_united(make_builder, rrsisd):
    parts = np.zeros((2, 48, 48), bool)
    parts[0, :20, :20] = parts[1, 10:30, 10:30] = True

    def edit(refs, instances):
        instances["annotations"][0]["segmentation"] = [rle(part) for part in parts]
        instances["annotations"][0]["category_id"] = 11
        refs[0]["sentences"] += [made_trees.sentence(5, "Another  one"), refs[0]["sentences"][0]]

    change(rrsisd, edit)
    builder = make_builder("rrsisd/folder", path=rrsisd)
    first, again = builder.read(rrsisd).samples[:2]
    np.testing.assert_array_equal(first.mask(), parts.any(axis=0))
    assert (first.image_id, again.image_id, again.phrase) == ("11_0", "11_1", "Another one")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda text: text.replace("<xmax>", "<xmax>1"), "has no object with the box (12, 10, 32"),
        (lambda text: text.replace("<split>train", "<split>"), "has the split ''"),
        (lambda text: text[:60], "is no readable XML"),
        (
            lambda text: '<!DOCTYPE a [<!ENTITY b "c">]>' + text,
            "declares entities, which no file of RRSIS-D does",
        ),
        (lambda text: text.replace("The thing number 11 &amp; more", " "), "has no description of"),
        (None, "missing, so there is no text for its image"),
    ],
)
def test_faults_of_the_xml_files(problems_of, rrsisd, edit, words):
    file = rrsisd / "images/rrsisd/ann_split/00011.xml"
    text = file.read_text()
    file.unlink()
    if edit:
        file.write_text(edit(text))
    problem, counts = problems_of("rrsisd/official_xml", rrsisd)
    assert problem.startswith(f"00011.xml: {words}")
    assert counts.startswith("samples found")


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b"[" * 100_000, b"\xff\xfe"])
def test_json_that_is_none(problems_of, rrsisd, content):
    (rrsisd / "rrsisd/instances.json").write_bytes(content)
    assert problems_of("rrsisd", rrsisd)[0].startswith("instances.json: ") or content == b"{}"


def test_images_elsewhere_are_told(problems_of, rrsisd):
    shutil.rmtree(rrsisd / "images/rrsisd/JPEGImages")
    problems = problems_of("rrsisd", rrsisd)
    assert problems[0].startswith("none of the 4 images, such as 00011.jpg, lies in the folder")
    made_trees.rrsisd(rrsisd)
    shutil.copytree(rrsisd / "images/rrsisd/JPEGImages", rrsisd / "images/rrsisd/copy")
    problems = problems_of("rrsisd", rrsisd)
    assert problems[0] == (
        "several folders with the image 00011.jpg: images/rrsisd/JPEGImages, images/rrsisd/copy; "
        "give the folder of one of them"
    )


def test_image_bytes_are_kept_where_every_reader_agrees(make_builder, rrsisd):
    folder = rrsisd / "images/rrsisd/JPEGImages"
    kept, grey, turned = (folder / f"{name}.jpg" for name in ("00011", "02934", "00110"))
    Image.open(grey).convert("L").save(grey)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(turned).save(turned, exif=exif)
    samples = make_builder("rrsisd").read(rrsisd).samples
    encoded = [sample.encode()["image"] for sample in samples]
    assert encoded[0] == kept.read_bytes()
    assert [data[:4] == b"\x89PNG" for data in encoded] == [False, True, True, False]
