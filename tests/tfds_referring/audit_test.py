"""Every planted fault is found, and none is invented."""

import json
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from rrsis_jax.data.tokenizers import wordpiece
from tfds_referring import __main__, audit, audit_report, phrase_files
from tfds_refsegrs import category_of
from tfds_refsegrs.synthetic import triplets

PHRASE_FILES = phrase_files.PHRASE_FILES


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Rendered scenes as a folder: 3 / 1 / 2 tiles, two phrases each."""
    folder = tmp_path_factory.mktemp("clean")
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for split, numbers in triplets.split_scenes((3, 1, 2)).items():
        lines = []
        for number in numbers:
            scene = triplets.make_scene(0, number, 64)
            for image_id, phrase, mask in scene.triplets[:2]:
                Image.fromarray(scene.image).save(folder / f"images/{image_id}.png")
                Image.fromarray(mask[..., 0] * 255).save(folder / f"masks/{image_id}.png")
                lines.append(f"{image_id} {phrase}\n")
        (folder / PHRASE_FILES[split]).write_text("".join(lines))
    return folder


@pytest.fixture
def folder(clean, tmp_path):
    shutil.copytree(clean, tmp_path / "data")
    return tmp_path / "data"


def ids(folder, split):
    return [line.split()[0] for line in (folder / PHRASE_FILES[split]).read_text().splitlines()]


def read(folder, kind, image_id):
    return np.array(Image.open(folder / kind / f"{image_id}.png"))


def add(folder, split, image_id, phrase, image, mask):
    Image.fromarray(image).save(folder / f"images/{image_id}.png")
    Image.fromarray(mask).save(folder / f"masks/{image_id}.png")
    with (folder / PHRASE_FILES[split]).open("a") as file:
        file.write(f"{image_id} {phrase}\n")


def found(folder):
    return [
        (finding.kind, {record.name for record in finding.records})
        for finding in audit.audit_folder(folder, category_of).findings
    ]


def test_a_clean_folder_has_no_findings(clean):
    assert found(clean) == []


@pytest.mark.parametrize(("value", "kind"), [(0, "empty mask"), (255, "full mask")])
def test_empty_and_full_masks(folder, value, kind):
    image_id = ids(folder, "train")[1]
    Image.fromarray(np.full((64, 64), value, np.uint8)).save(folder / f"masks/{image_id}.png")
    assert found(folder) == [(kind, {f"train/{image_id}"})]


def test_values_between(folder):
    image_id = ids(folder, "test")[0]
    mask = read(folder, "masks", image_id)
    mask[:2, :3] = np.array([40, 60, 128], np.uint8)
    Image.fromarray(mask).save(folder / f"masks/{image_id}.png")
    (finding,) = audit.audit_folder(folder, category_of).findings
    assert (finding.kind, finding.records[0].name) == ("values between", f"test/{image_id}")
    assert finding.detail == "3 of them, 40 to 128"


def test_the_same_triplet_twice(folder):
    first = ids(folder, "train")[0]
    phrase = (folder / PHRASE_FILES["train"]).read_text().splitlines()[0].split(" ", 1)[1]
    add(
        folder,
        "train",
        "again",
        phrase.upper(),
        read(folder, "images", first),
        read(folder, "masks", first),
    )
    assert found(folder) == [("repeated triplet", {f"train/{first}", "train/again"})]


def test_the_same_phrase_with_another_mask(folder):
    first = ids(folder, "train")[0]
    phrase = (folder / PHRASE_FILES["train"]).read_text().splitlines()[0].split(" ", 1)[1]
    mask = read(folder, "masks", first)[::-1]
    add(folder, "train", "again", phrase, read(folder, "images", first), mask)
    assert found(folder) == [("contradicting masks", {f"train/{first}", "train/again"})]


def test_a_tile_in_two_splits(folder):
    first, second = ids(folder, "train")[:2]
    add(
        folder,
        "test",
        "leak",
        "something else",
        read(folder, "images", first),
        read(folder, "masks", first),
    )
    (finding,) = audit.audit_folder(folder, category_of).findings
    assert finding.kind == "tile in several splits"
    names = [f"train/{first}", f"train/{second}", "test/leak"]
    assert [record.name for record in finding.records] == names
    assert [record.name for record in finding.examples] == [names[0], names[2]]


@pytest.mark.parametrize(
    ("split", "kind"),
    [
        ("train", "near-duplicate tiles"),
        ("validation", "near-duplicate tiles in several splits"),
    ],
)
@pytest.mark.parametrize("change", ["noise", "brighter", "jpeg", "smaller"])
def test_near_duplicate_tiles(folder, tmp_path, split, kind, change):
    first, second = ids(folder, "train")[:2]
    image, mask = read(folder, "images", first), read(folder, "masks", first)
    if change == "noise":
        noise = np.random.default_rng(0).integers(-12, 13, image.shape)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    elif change == "brighter":
        image = np.clip(image * 1.1 + 8, 0, 255).astype(np.uint8)
    elif change == "jpeg":
        Image.fromarray(image).save(tmp_path / "x.jpg", quality=40)
        image = np.array(Image.open(tmp_path / "x.jpg"))
    else:
        image, mask = (np.array(Image.fromarray(x).resize((48, 48))) for x in (image, mask))
        mask = np.where(mask > 127, 255, 0).astype(np.uint8)
    add(folder, split, "copy", "something else", image, mask)
    assert found(folder) == [(kind, {f"train/{first}", f"train/{second}", f"{split}/copy"})]


def test_statistics_of_a_folder(clean):
    statistics = audit.audit_folder(clean, category_of).statistics
    train = statistics["splits"]["train"]
    assert (train["triplets"], train["tiles"]) == (6, 3)
    assert train["image sizes"] == {"64x64": 6}
    assert sum(train["categories"].values()) == sum(train["forms"].values()) == 6
    assert statistics["triplets per tile"] == {"2": 6}
    shares = [np.mean(read(clean, "masks", i) > 0) for i in ids(clean, "train")]
    assert train["target share"]["largest"] == pytest.approx(max(shares))
    assert train["target share"]["median"] == pytest.approx(np.median(shares))


def test_phrases_unseen_in_training(folder):
    test_id = ids(folder, "test")[0]
    add(
        folder,
        "test",
        "new",
        "Purple Roundabout",
        read(folder, "images", test_id),
        read(folder, "masks", test_id),
    )
    unseen = audit.audit_folder(folder, category_of).statistics["phrases unseen in training"]
    assert "purple roundabout" in unseen["test"]


def test_a_folder_for_testing_alone(folder):
    for split in ("train", "validation"):
        (folder / PHRASE_FILES[split]).write_text("")
    whole = audit.audit_folder(folder, category_of)
    assert list(whole.statistics["splits"]) == ["test"]
    phrases = {record.phrase.lower() for record in whole.records}
    assert whole.statistics["phrases unseen in training"] == {"test": sorted(phrases)}


def test_the_command_writes_table_json_and_sheet(folder, tmp_path, capsys):
    image_id = ids(folder, "train")[1]
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(folder / f"masks/{image_id}.png")
    __main__.main(["audit", "--manual_dir", str(folder), "--output", str(tmp_path / "out")])
    table = (tmp_path / "out/audit.md").read_text()
    assert f"| 1 | train/{image_id} |" in table
    assert table in capsys.readouterr().out
    data = json.loads((tmp_path / "out/audit.json").read_text())
    assert data["findings"] == [
        {"kind": "empty mask", "samples": [f"train/{image_id}"], "detail": ""}
    ]
    assert np.array(Image.open(tmp_path / "out/audit.png")).std() > 0


class Vocabulary:
    """Stands for a tokenizer whose vocabulary has lost its house."""

    max_tokens = 5

    def num_tokens(self, phrase):
        return 2 + len(phrase.split())

    def unread_words(self, phrase):
        return tuple(word for word in phrase.split() if word == "house")


def test_phrases_that_are_read_in_part(folder):
    first = ids(folder, "test")[0]
    pixels = read(folder, "images", first), read(folder, "masks", first)
    add(folder, "test", "long", "the small red house", *pixels)
    add(folder, "test", "short", "the house", *pixels)
    findings = audit.audit_folder(folder, category_of, reader=Vocabulary()).findings
    of_new = [f for f in findings if any("house" in record.phrase for record in f.records)]
    told = [(f.kind, [r.name for r in f.records], f.detail) for f in of_new if "tile" not in f.kind]
    assert told == [
        ("long phrase", ["test/long"], "6 tokens, 5 are read: the small red house"),
        ("unread words", ["test/long"], "house in: the small red house"),
        ("unread words", ["test/short"], "house in: the house"),
    ]


def test_words_are_counted_without_a_tokenizer(folder):
    first = ids(folder, "test")[0]
    phrase = " ".join(["very"] * 17) + " long road-side"
    add(folder, "test", "x", phrase, read(folder, "images", first), read(folder, "masks", first))
    whole = audit.audit_folder(folder, category_of)
    (finding,) = [finding for finding in whole.findings if finding.kind == "long phrase"]
    assert finding.detail == f"23 tokens, 20 are read: {phrase}"
    assert "very" in whole.statistics["words unseen in training"]["test"]
    assert "| words unseen in training | 0 | " in audit_report.table(whole)


def test_the_command_takes_rule_and_tokenizer(folder, tmp_path, capsys):
    for file in (folder / "masks").iterdir():
        Image.fromarray(np.array(Image.open(file)) // 255 * np.uint8(7)).save(file)
    command = ["audit", "--manual_dir", str(folder), "--output", str(tmp_path / "out")]
    with pytest.raises(
        phrase_files.LayoutError, match=r"values 0, 7 in .* --foreground nonzero in the"
    ):
        __main__.main(command)
    words = wordpiece.train(["tree", "road"], 256, 8)
    words.save(tmp_path / "words")
    phrase = "tree " * 7
    image_id = ids(folder, "train")[0]
    pixels = read(folder, "images", image_id), read(folder, "masks", image_id)
    add(folder, "train", "x", f"{phrase}я", *pixels)
    options = ["--foreground", "nonzero", "--tokenizer", str(tmp_path / "words")]
    __main__.main([*command, *options, "--max_tokens", "8"])
    assert "| long phrase: more tokens than a model reads" in capsys.readouterr().out
    findings = json.loads((tmp_path / "out/audit.json").read_text())["findings"]
    told = {f["kind"]: f["detail"] for f in findings if f["samples"] == ["train/x"]}
    assert told["long phrase"] == f"10 tokens, 8 are read: {phrase}я"
    assert told["unread words"] == f"я in: {phrase}я"
    with pytest.raises(ValueError, match=r"--foreground is for --manual_dir: .* Leave it out"):
        __main__.main(["audit", "--data_dir", str(tmp_path), "--foreground", "7"])


def test_table_escapes_what_would_break_it(folder):
    first = ids(folder, "train")[0]
    image, mask = read(folder, "images", first), read(folder, "masks", first)
    for name in ("a", "b"):
        add(folder, "train", name, "left | right", image, mask)
    assert "left \\| right" in audit_report.table(audit.audit_folder(folder, category_of))


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_a_prepared_dataset_is_audited_alike(clean, tmp_path, file_format):
    builder = tfds.builder(
        "refsegrs/folder", data_dir=tmp_path, file_format=file_format, path=clean
    )
    builder.download_and_prepare()
    prepared = audit.audit_prepared(tmp_path, builder.builder_config.name)
    assert prepared.findings == []
    ours, theirs = prepared.statistics, audit.audit_folder(clean, category_of).statistics
    assert ours["splits"]["test"] == theirs["splits"]["test"]
    for record in prepared.records[::3]:  # what the pictures show is what was audited
        assert record.load().image_id == record.image_id


def test_a_folder_without_the_dataset_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"no prepared config 'official' of refsegrs; it has: none"
    ):
        audit.audit_prepared(tmp_path, "official")
    with pytest.raises(phrase_files.LayoutError, match="missing"):
        audit.audit_folder(tmp_path, category_of)
