"""The pages, read without a browser: whole, self-contained, true to the table."""

import base64
import dataclasses
import html.parser
import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from rrsis_jax.cli import compare as compare_command
from rrsis_jax.cli import report as report_command
from rrsis_jax.evaluation import sample_table
from rrsis_jax.reporting import gallery, report
from rrsis_jax.reporting.comparison import differences, largest_change, write_comparison
from rrsis_jax.visualization import overlays
from tests.fake_runs import SPLIT, write_run


class Page(html.parser.HTMLParser):
    """Collects the tags with their attributes, and the text of cells."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags, self.open = [], []
        self.feed(self.source)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def all(self, tag, attribute):
        return [a for name, a in self.tags if name == tag and attribute in a]


@pytest.fixture(scope="module")
def runs(scene_folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    tables = {
        name: write_run(root / name, scene_folder, root / "tfds", shift)
        for name, shift in (("near", 2), ("far", 9))
    }
    return root, tables


@pytest.fixture
def tampered(runs, tmp_path):
    for name in ("near", "far"):
        shutil.copytree(runs[0] / name, tmp_path / name)
    return tmp_path


@pytest.fixture(scope="module")
def page(runs):
    history = [
        {"step": 4, "epoch": 1.0, "train_loss": 0.6, "oIoU": 0.1, "mIoU": 0.2, "P@0.5": 0.1},
        {"step": 8, "epoch": 2.0, "train_loss": 0.4, "oIoU": 0.3, "mIoU": 0.3, "P@0.5": 0.2},
    ]
    folder = runs[0] / "near"
    (folder / "metrics.json").write_text(json.dumps({"history": history}))
    return Page(report.write_report(folder, SPLIT, pictures=3))


@pytest.fixture(scope="module")
def comparison(runs):
    root, _ = runs
    return Page(write_comparison([root / "far", root / "near"], SPLIT, root / "c.html", 4))


def test_every_sample_is_in_the_table_with_what_the_filters_need(page, runs):
    table = runs[1]["near"]
    rows = page.all("tr", "data-sample")
    assert len(rows) == len(table.samples)
    for row, sample, iou in zip(rows, table.samples, table.iou("paper"), strict=True):
        assert row["data-sample"] == str(sample.index)
        assert row["data-phrase"] == sample.phrase
        for key in ("category", "form", "size"):
            assert row[f"data-{key}"] == getattr(sample, key)
        assert float(row["data-iou"]) == pytest.approx(iou, abs=1e-4)


def test_every_value_can_be_filtered_by(page, runs):
    options = {a["value"] for a in page.all("option", "value")} - {""}
    for column in ("category", "form", "size"):
        assert set(runs[1]["near"].column(column)) <= options
    assert {a["name"] for a in page.all("select", "name")} == {"category", "form", "size"}
    assert {a["name"] for a in page.all("input", "name")} == {"least", "most", "phrase"}


@pytest.mark.parametrize("name", ["page", "comparison"])
def test_nothing_is_fetched_from_elsewhere(name, request):
    found = request.getfixturevalue(name)
    assert "default-src 'none'" in found.source
    addresses = [a[key] for _, a in found.tags for key in ("src", "href") if key in a]
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    urls = set(re.findall(r"https?://[^\s\"'<>)]+", found.source))
    assert urls <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # XML names
    assert "@import" not in found.source
    assert not found.all("link", "rel") or found.all("link", "rel")[0]["href"] == "data:,"


@pytest.mark.parametrize("name", ["page", "comparison"])
def test_pictures_and_controls_have_names(name, request):
    found = request.getfixturevalue(name)
    assert all(a["alt"] for tag, a in found.tags if tag == "img")
    assert found.all("html", "lang")
    assert all("aria-label" in a for a in found.all("figure", "role"))
    ids = [a["id"] for _, a in found.tags if "id" in a]
    links = re.findall(r"""(?:href="|url\()#([^")]+)""", found.source)
    assert set(links) <= set(ids)


def test_the_numbers_are_the_tables(page, runs):
    summary = runs[1]["near"].summary("paper")
    low, high = runs[1]["near"].intervals("paper")["mIoU"]
    assert f"{100 * summary['mIoU']:.2f}" in page.source
    assert f"[{100 * low:.2f}, {100 * high:.2f}]" in page.source
    assert "1.25 when samples carry" in page.source


def test_charts_follow_the_pages_colours(page):
    charts = page.source.count("<svg")
    assert charts == 6  # histogram, three breakdowns, two learning curves
    assert "currentColor" in page.source
    assert "#010203" not in page.source


def test_a_run_without_history_has_no_curves(runs):
    path = report.write_report(runs[0] / "far", SPLIT, runs[0] / "plain.html", pictures=1)
    assert Page(path).source.count("<svg") == 4


def test_a_picture_shows_image_target_and_prediction(page):
    first = page.all("img", "src")[0]
    data = base64.b64decode(first["src"].partition("base64,")[2])
    picture = Image.open(io.BytesIO(data))
    assert picture.size == (int(first["width"]), int(first["height"])) == (388, 192)
    left, right = (np.asarray(picture, int)[:, part] for part in (slice(192), slice(196, 388)))
    assert np.abs(left - right).max() > 60


def test_markup_in_a_phrase_stays_text(tampered):
    table = sample_table.load(tampered / "near", SPLIT)
    path = sample_table.json_file(tampered / "near", SPLIT)
    evil = "<script>alert('x')</script>"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["samples"][0][content["columns"].index("phrase")] = evil
    path.write_text(json.dumps(content))
    found = Page(report.write_report(tampered / "near", SPLIT, pictures=len(table.samples)))
    assert "<script>alert" not in found.source
    assert found.all("tr", "data-sample")[0]["data-phrase"] == evil


def test_missing_masks_and_another_dataset_are_explained(tampered):
    shutil.rmtree(tampered / "near/predictions_train")
    with pytest.raises(ValueError, match=r"does not exist\. Evaluate the split again"):
        report.write_report(tampered / "near", SPLIT)
    path = sample_table.json_file(tampered / "near", SPLIT)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["about"]["data"]["masks"] = "0" * 64
    path.write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=r"not those that were evaluated: train: other masks\. Eva"
    ):
        report.write_report(tampered / "near", SPLIT)
    content["about"]["data"] = {"samples": "many"}
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"damaged: .* expected samples \(int\), .* it again"):
        report.write_report(tampered / "near", SPLIT)


def test_an_evaluation_of_version_0_1_names_its_model_too(tampered):
    path = sample_table.json_file(tampered / "near", SPLIT)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["about"]["decoder"] = content["about"].pop("model")
    path.write_text(json.dumps(content))
    assert sample_table.load(tampered / "near", SPLIT).about["model"] == "lgce"
    assert "LGCE" in Page(report.write_report(tampered / "near", SPLIT)).source


def test_moved_data_are_found_by_the_option(tampered, scene_folder, tmp_path, capsys):
    config_file = tampered / "near/config.json"
    gone = config_file.read_text().replace(str(scene_folder), str(tmp_path / "gone"))
    config_file.write_text(gone)
    with pytest.raises(ValueError, match=r"gone', which is no folder\. .* rrsis-compare: --folder"):
        report.write_report(tampered / "near", SPLIT)
    shutil.copytree(scene_folder, tmp_path / "moved")
    arguments = ["--workdir", str(tampered / "near"), "--split", SPLIT, "--pictures", "1"]
    report_command.main([*arguments, "--folder", str(tmp_path / "moved")])
    assert capsys.readouterr().out.strip() == str(tampered / f"near/report_{SPLIT}.html")


@pytest.mark.parametrize("command", [report_command, compare_command])
def test_an_unknown_split_is_not_advised_again(command, tmp_path, capsys):
    folders = ["--workdir", "x"] if command is report_command else ["x", "y"]
    with pytest.raises(SystemExit):
        command.main([*folders, "--split", "tset"])
    assert "invalid choice: 'tset' (choose from" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"no split 'tset'; one of train, validation, test is\."):
        sample_table.load(tmp_path, "tset")


def test_the_command_names_what_it_wrote(runs, capsys):
    output = runs[0] / "by_command.html"
    arguments = ["--workdir", str(runs[0] / "near"), "--split", SPLIT, "--output", str(output)]
    report_command.main([*arguments, "--pictures", "1"])
    assert capsys.readouterr().out.strip() == str(output)
    assert output.stat().st_size < 3_000_000


def test_a_comparison_reports_paired_differences(comparison, runs):
    far, near = runs[1]["far"], runs[1]["near"]
    gains = differences({"far": far, "near": near}, "paper")["near"]
    expected = near.summary("paper")["mIoU"] - far.summary("paper")["mIoU"]
    assert gains["mIoU"] == pytest.approx(expected)
    low, high = gains["mIoU interval"]
    assert 0 < low < expected < high
    assert f"{100 * expected:+.2f}" in comparison.source
    assert f"[{100 * low:+.2f}, {100 * high:+.2f}]" in comparison.source


def test_a_run_does_not_differ_from_itself(runs):
    near = runs[1]["near"]
    gains = differences({"a": near, "b": near}, "native")["b"]
    assert gains["oIoU"] == 0
    assert gains["oIoU interval"] == gains["mIoU interval"] == [0, 0]


def test_a_comparison_shows_what_changed_most(comparison, runs):
    far, near = (runs[1][name].iou("paper") for name in ("far", "near"))
    order = np.argsort(-(near - far), kind="stable")
    shown = [int(a["data-sample"]) for a in comparison.all("figure", "data-sample")]
    assert {round(near[i] - far[i], 6) for i in shown[:2]} == {
        round(near[i] - far[i], 6) for i in order[:2]
    }
    assert len(comparison.all("tr", "data-sample")) == len(far)


def test_the_largest_change_keeps_its_sign():
    scores = [np.array([0.5, 0.5]), np.array([0.6, 0.4]), np.array([0.1, 0.55])]
    np.testing.assert_allclose(largest_change(scores), [-0.4, -0.1])


def test_only_equal_samples_are_compared(runs):
    near = runs[1]["near"]
    fewer = near.subset([True] * 3 + [False] * (len(near.samples) - 3))
    with pytest.raises(ValueError, match=r"a has \d+ samples, b has 3. Evaluate both"):
        sample_table.check_same_samples({"a": near, "b": fewer})
    turned = sample_table.SampleTable(near.about, near.samples[::-1])
    with pytest.raises(ValueError, match=r"Sample 0 is '.*' on image .* in a, but '.*' on .* in b"):
        sample_table.check_same_samples({"a": near, "b": turned})
    with pytest.raises(ValueError, match="needs two evaluations, got 1"):
        sample_table.check_same_samples({"a": near})


def test_only_equal_targets_are_compared(runs, tampered):
    near, far = runs[1]["near"], runs[1]["far"]
    others = [dataclasses.replace(far.samples[2], target="0" * 12), *far.samples[3:]]
    changed = sample_table.SampleTable(far.about, [*far.samples[:2], *others])
    phrase = re.escape(repr(near.samples[2].phrase))
    expected = (
        rf"^a and b were measured against different masks: of 1 of {len(near.samples)} samples, "
        rf"first of sample 2, {phrase} on image {near.samples[2].tile}\. Evaluate both on the same"
    )
    with pytest.raises(ValueError, match=expected):
        differences({"a": near, "b": changed}, "paper")
    path = sample_table.json_file(tampered / "near", SPLIT)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["columns"].pop() == "target"  # as version 0.1 wrote it
    content["samples"] = [row[:-1] for row in content["samples"]]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"of near does not tell its targets.* Evaluate near aga"):
        write_comparison([tampered / "far", tampered / "near"], SPLIT, tampered / "c.html")
    report.write_report(tampered / "near", SPLIT, pictures=1)


def test_the_gallery_picks_by_iou_and_by_wrong_pixels():
    iou, wrong = np.array([0.2, 0.9, 0.0, 0.5, 0.6]), np.array([0.1, 0.0, 0.02, 0.4, 0.1])
    assert gallery.choose(iou, wrong, 2) == {
        "Best": [1, 4],
        "Median": [0, 3],
        "Worst": [2, 0],
        "Largest disagreement": [3, 0],
    }


def test_an_outline_is_the_inner_border():
    mask = np.zeros((7, 7), np.uint8)
    mask[1:6, 1:6] = 1
    edge = overlays.outline(mask, width=1)
    assert edge.sum() == 16
    assert not edge[2:5, 2:5].any()
    assert not overlays.outline(np.ones((4, 4))).any()  # the picture's edge is no border
