import os
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from tfds_referring import images, phrase_files

DUMMY = pathlib.Path(__file__).parents[2] / "tfds_refsegrs/dummy_data"


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(DUMMY, tmp_path / "data")
    return tmp_path / "data"


def problems_of(folder, **options):
    with pytest.raises(phrase_files.LayoutError) as caught:
        phrase_files.read_folder(folder, **options)
    message = str(caught.value)
    assert all(problem in message for problem in caught.value.problems)
    assert message.startswith(f"{len(caught.value.problems)} problem(s) in {folder}")
    return caught.value.problems


def test_reads_all_splits_in_order(folder):
    splits = phrase_files.read_folder(folder)
    assert {split: len(triplets) for split, triplets in splits.items()} == {
        "train": 3,
        "validation": 1,
        "test": 2,
    }
    first = splits["train"][1]
    assert (first.image_id, first.phrase) == ("1", "vehicle driving on the road")
    assert first.image == folder / "images/1.tif"
    assert first.mask == folder / "masks/1.tif"


def test_folder_inside_the_given_one(folder):
    assert phrase_files.read_folder(folder.parent) == phrase_files.read_folder(folder)


def test_risbench_names_png_crlf_and_byte_order_mark(folder):
    (folder / "images").rename(folder / "img_rgb")
    (folder / "masks").rename(folder / "mask")
    for file in sorted(folder.glob("*/*.tif")):
        Image.open(file).save(file.with_suffix(".PNG"), "PNG")
        file.unlink()
    train = folder / "output_phrase_train.txt"
    train.write_bytes(b"\xef\xbb\xbf" + train.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    triplets = phrase_files.read_folder(folder)["train"]
    assert [triplet.image_id for triplet in triplets] == ["0", "1", "2"]
    assert triplets[0].phrase == "road"
    assert triplets[0].image == folder / "img_rgb/0.PNG"


def test_every_problem_of_every_split_is_reported(folder):
    """One fault of each kind, three files, one error."""
    train = folder / "output_phrase_train.txt"
    train.write_text(
        "0 road\n"  # image missing
        "1 vehicle\n"  # image damaged
        "2 tree\n"  # size differs
        "1 car\n"  # repeated
        " building\n"
        "\t\n"
        "7\n"
        "8 \n"
        "../x road\n"
        "/etc/x road\n"
        "C:\\x road\n"
        "99 bus\n"  # neither file
    )
    (folder / "images/0.tif").unlink()
    (folder / "images/1.tif").write_bytes(b"II*\0")
    Image.new("L", (3, 2)).save(folder / "masks/2.tif")
    Image.new("RGB", (8, 8), "red").save(folder / "masks/3.tif")  # validation
    Image.new("RGB", (6, 10)).save(folder / "images/4.png")  # test: 4.tif and 4.png
    (folder / "output_phrase_test.txt").write_bytes(b"4 building\n5 stra\xdfe\n")
    expected = [
        "output_phrase_train.txt:4: id '1' again, first at output_phrase_train.txt:2",
        "output_phrase_train.txt:5: empty phrase after id 'building'; expected `<id> <phrase>`",
        "output_phrase_train.txt:7: empty phrase after id '7'",
        "output_phrase_train.txt:8: empty phrase after id '8'",
        "output_phrase_train.txt:9: id '../x' leaves the folder; use a plain file name",
        "output_phrase_train.txt:10: id '/etc/x' leaves the folder",
        "output_phrase_train.txt:11: id 'C:\\\\x' leaves the folder",
        "output_phrase_test.txt:2: not UTF-8 (invalid continuation byte); save the file as UTF-8",
        "output_phrase_train.txt:1: no image file 0 with one of .tif",
        "output_phrase_train.txt:12: no image file 99",
        "output_phrase_train.txt:12: no mask file 99",
        "output_phrase_train.txt:2: images/1.tif cannot be decoded",
        "output_phrase_train.txt:3: image 2.tif is 10x6 but its mask is 3x2; they must be equal",
        "output_phrase_val.txt:1: masks/3.tif has colours, not grey values",
    ]
    problems = problems_of(folder)
    unmatched = [
        start for start in expected if not any(found.startswith(start) for found in problems)
    ]
    assert not unmatched, problems
    assert len(problems) == len(expected)


def test_two_files_for_one_id(folder):
    Image.new("RGB", (8, 8)).save(folder / "images/4.png")
    assert problems_of(folder) == (
        "output_phrase_test.txt:1: several image files for one id: 4.png, 4.tif; keep one",
    )


def test_missing_phrase_file_names_what_is_there(folder):
    (folder / "output_phrase_val.txt").unlink()
    (problem,) = problems_of(folder)
    assert problem == (
        "output_phrase_val.txt: missing, so there is no split validation; the folder has images, "
        "masks, output_phrase_test.txt, output_phrase_train.txt; to do without the split, make an "
        "empty file"
    )


def test_a_file_without_lines_is_a_split_without_triplets(folder):
    (folder / "output_phrase_val.txt").write_text("\n \n")
    assert [len(part) for part in phrase_files.read_folder(folder).values()] == [3, 0, 2]
    for name in phrase_files.PHRASE_FILES.values():
        (folder / name).write_text("")
    assert problems_of(folder) == (
        "no phrase file has a line `<id> <phrase>`; write one for each triplet",
    )


def test_tabs_indents_and_blank_lines_are_read(folder):
    expected = phrase_files.read_folder(folder)
    for name in phrase_files.PHRASE_FILES.values():
        file = folder / name
        lines = [line.replace(" ", "\t", 1) for line in file.read_text().splitlines()]
        file.write_text("\n\n  " + "\n \n\t".join(lines) + " \n\n")
    assert phrase_files.read_folder(folder) == expected


def test_missing_image_folder(folder):
    shutil.rmtree(folder / "masks")
    problems = problems_of(folder)
    assert problems[0] == "no folder masks/ or mask/"
    assert len(problems) == 1 + 6


def test_counts(folder):
    counts = {"train": 2172, "validation": 431, "test": 1817}
    (problem,) = problems_of(folder, expected_counts=counts)
    assert problem == (
        "triplets found train 3, validation 1, test 2, expected train 2172, validation 431, "
        "test 1817; if this is not the official RefSegRS, use the config `folder`"
    )


def test_not_a_folder(tmp_path):
    (problem,) = problems_of(tmp_path / "absent")
    assert problem == "is not a folder; give the one that holds the phrase files"


def change_phrase(folder):
    file = folder / "output_phrase_val.txt"
    file.write_text(file.read_text().replace("light-duty", "heavy-duty"))


def touch_mask(folder):
    os.utime(folder / "masks/2.tif", ns=(0, 1))


def add_image(folder):
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / "images/new.tif")


@pytest.mark.parametrize("change", [change_phrase, touch_mask, add_image])
def test_fingerprint_follows_the_content(folder, change):
    before = phrase_files.fingerprint(folder)
    assert before == phrase_files.fingerprint(folder)
    assert len(before) == 12
    assert int(before, 16) >= 0
    change(folder)
    assert phrase_files.fingerprint(folder) != before


def write_masks(folder, *files):
    """Rewrites all six masks, with their own sizes, by cycling through tuples of values."""
    for i in range(6):
        path = folder / f"masks/{i}.tif"
        shape = np.asarray(Image.open(path)).shape
        values = files[i % len(files)]
        Image.fromarray(np.resize(np.asarray(values, np.uint8), shape)).save(path)


@pytest.mark.parametrize(
    ("files", "rule", "right"),
    [
        ([(0, 0, 7)], "nonzero", [0, 0, 1]),
        ([(0, 0, 38)], "38", [0, 0, 1]),
        ([(0, 1, 2, 3)], "2", [0, 0, 1, 0]),
        ([(0, 1, 255)], "1", [0, 1, 0]),
        ([(0, 12, 77)], "nonzero", [0, 1, 1]),
    ],
)
def test_ids_are_refused_until_the_rule_is_given(folder, files, rule, right):
    write_masks(folder, *files)
    (problem,) = problems_of(folder)
    values = ", ".join(map(str, sorted(set(files[0]))))
    assert problem.startswith(f"masks whose target is unclear, with values {values} in masks/0.tif")
    phrase_files.read_folder(folder, rule=rule)
    mask = images.read_mask(folder / "masks/1.tif", rule)
    np.testing.assert_array_equal(mask.ravel(), np.resize(right, mask.size))


def test_masks_in_doubt_are_grouped_by_their_values(folder):
    write_masks(folder, (0, 7), (0, 255), (0, 1, 255))
    (problem,) = problems_of(folder)
    assert problem == (
        "masks whose target is unclear, with values 0, 7 in masks/0.tif, masks/3.tif; values 0, 1, "
        "255 in masks/2.tif, masks/5.tif; say which pixels are the target: the builder's option "
        "`foreground` is 'above 50', 'nonzero' or one value, like 7 "
        "(--config.data.foreground=nonzero in training, --foreground nonzero in the audit)"
    )


def test_masks_turned_inside_out_are_asked_about(folder):
    write_masks(folder, (0, 255, 255, 255))
    (problem,) = problems_of(folder)
    assert problem.startswith(
        "more than half of the image is target in 6 of 6 masks, as where black and white are "
        "exchanged (then: foreground 0); if that is right, say which"
    )
    assert phrase_files.read_folder(folder, rule="0")
    assert phrase_files.read_folder(folder, rule="above 50")


def test_training_masks_without_a_target_are_refused(folder):
    write_masks(folder, (0, 1, 2, 3))
    (problem,) = problems_of(folder, rule="9")
    assert problem.startswith(
        "no mask of the training split has a pixel of the target, by the rule '9'; found were "
        "values 0, 1, 2, 3 in masks/0.tif, masks/1.tif, masks/2.tif, masks/3.tif, masks/4.tif and "
        "1 more; say which"
    )
    write_masks(folder, (0,))
    (problem,) = problems_of(folder)
    assert "by the rule 'above 50'; found were the value 0 in masks/0.tif" in problem


def test_soft_and_lossy_edges_leave_no_doubt(folder):
    square = np.zeros((64, 64), np.uint8)
    square[20:45, 11:38] = 255
    for i in range(6):
        (folder / f"masks/{i}.tif").unlink()
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(folder / f"images/{i}.tif")
        Image.fromarray(square).save(folder / f"masks/{i}.jpg", quality=60)
    assert len(np.unique(np.asarray(Image.open(folder / "masks/0.jpg")))) > 20
    assert phrase_files.read_folder(folder)
