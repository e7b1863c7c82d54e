"""Images of any size and expressions to probabilities and masks."""

import logging

import jax
import numpy as np
import pytest
from PIL import Image

from rrsis_jax.configuration import run_folder
from rrsis_jax.models import registry
from rrsis_jax.models.layers import images
from rrsis_jax.prediction import predictor


def test_an_image_of_the_models_size_gives_the_models_own_numbers(live, workdir, image):
    square = image[:32, :32]
    found = live.predict(square, ["red car", "tree"])
    model = registry.build_model(run_folder.load(workdir).model)
    ids, mask = (
        np.stack(x) for x in zip(*(live.model.tokenizer(t) for t in found.expressions), strict=True)
    )
    batch = images.normalize(jax.numpy.asarray(np.stack([square, square])))
    logits = jax.jit(model.apply)(live.model.variables, batch, ids, mask)
    expected = jax.nn.softmax(logits, axis=-1)[..., 1]
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    np.testing.assert_array_equal(found.masks, np.argmax(logits, axis=-1) == 1)
    assert np.ptp(found.probabilities) > 1e-3  # the comparison is not of constants


def test_results_have_the_images_own_size(stand_in, image):
    for tiled in (False, True):
        found = stand_in.predict(image, ["tree", "red car", "tree"], tiled=tiled)
        assert found.probabilities.shape == found.masks.shape == (3, 75, 90)
        assert found.probabilities.dtype == np.float32
        np.testing.assert_array_equal(found.probabilities[0], found.probabilities[2])
        np.testing.assert_array_equal(found.masks, found.probabilities > 0.5)


def test_tiled_equals_untiled_for_a_translation_invariant_model(stand_in, image):
    found = stand_in.predict(image, ["tree"], tiled=True, overlap=0.25)
    first_word = stand_in.model.tokenizer("tree")[0][1]
    log_odds = 9.0 * (image.mean(axis=-1) / 255.0 - 0.5) + 0.001 * first_word
    np.testing.assert_allclose(found.probabilities[0], 1 / (1 + np.exp(-log_odds)), atol=1e-5)


def test_new_sizes_and_numbers_of_expressions_compile_nothing(stand_in):
    rng = np.random.default_rng(0)
    for size, expressions in (((20, 50), 1), ((64, 64), 3), ((90, 41), 2), ((200, 33), 5)):
        pixels = rng.integers(0, 256, (*size, 3), np.uint8)
        for tiled in (False, True):
            stand_in.predict(
                pixels, ["tree", "red car", "road", "car", "grey"][:expressions], tiled=tiled
            )
    assert sorted(stand_in.traces) == [1, 2]  # squares a device, of the two batch sizes


def test_repeated_calls_agree_whatever_is_computed_beside(live, image):
    first = live.predict(image, ["tree"], tiled=True).probabilities
    beside = live.predict(image, ["red car", "tree"], tiled=True).probabilities
    np.testing.assert_array_equal(live.predict(image, ["tree"], tiled=True).probabilities, first)
    np.testing.assert_allclose(beside[1], first[0], atol=1e-5)


def test_no_step_at_the_borders_of_tiles_of_a_real_model(live, image):
    found = live.predict(image, ["tree"], tiled=True).probabilities[0]
    steps_across = np.abs(np.diff(found, axis=1)).mean(axis=0)  # between columns c and c + 1
    starts = predictor.tiling.make_axis(90, 32, 0.25).starts
    seams = sorted({int(s) - 1 for s in starts[1:]} | {int(s) + 31 for s in starts[:-1]})
    inside = np.delete(steps_across, seams)
    assert steps_across[seams].max() <= inside.max()
    assert steps_across[seams].mean() <= 1.2 * inside.mean()


def test_an_expression_that_is_too_long_is_cut_and_the_rest_named(live, image, caplog):
    with caplog.at_level(logging.WARNING, logger="absl"):
        live.encode(["building along the grey road marking on the red tree"])
    assert "'the red tree' is not read" in caplog.text
    assert "8 tokens" in caplog.text


@pytest.mark.parametrize(
    ("expression", "unread"),
    [
        ("tree", ""),
        ("building along the grey road tree", ""),  # [CLS], 6 words and [SEP]
        ("building along the grey road tree car", ""),  # 7 words: only [SEP] is cut
        ("building along the grey road tree car the road", "the road"),
    ],
)
def test_unread_words(live, expression, unread):
    assert predictor.unread_words(live.model.tokenizer, expression) == unread


@pytest.mark.parametrize("expressions", [[], "tree"])
def test_no_list_of_expressions(stand_in, image, expressions):
    with pytest.raises(ValueError, match="Expected a list of expressions"):
        stand_in.predict(image, expressions)


def test_an_empty_expression(stand_in, image):
    with pytest.raises(ValueError, match="'  ' is empty; say what to segment"):
        stand_in.predict(image, ["tree", "  "])


@pytest.mark.parametrize(
    "pixels", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((0, 9, 3), np.uint8)]
)
def test_an_array_that_is_no_image(stand_in, pixels):
    with pytest.raises(ValueError, match=r"Expected an image of uint8 \(H, W, 3\), got"):
        stand_in.predict(pixels, ["tree"])


def test_plain_files_of_all_kinds_are_read(stand_in, tmp_path, image):
    for mode in ("RGB", "RGBA", "L", "P"):
        Image.fromarray(image).convert(mode).save(tmp_path / f"{mode}.png")
        assert stand_in.predict(tmp_path / f"{mode}.png", ["tree"]).masks.shape == (1, 75, 90)


def test_files_that_cannot_be_read(stand_in, tmp_path):
    (tmp_path / "text.png").write_text("not an image")
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(tmp_path / "deep.png")
    for name, message in (
        ("text.png", "cannot be read as an image"),
        ("deep.png", "expected 8 bits a channel"),
        ("absent.png", "There is no image"),
    ):
        with pytest.raises(ValueError, match=message):
            stand_in.predict(tmp_path / name, ["tree"])


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(ValueError, match="holds no run"):
        predictor.Predictor.from_workdir(tmp_path)


def test_a_run_without_a_checkpoint(workdir, tmp_path):
    (tmp_path / "config.json").write_text((workdir / "config.json").read_text())
    with pytest.raises(ValueError, match="no checkpoint yet"):
        predictor.Predictor.from_workdir(tmp_path)
    assert not (tmp_path / "checkpoints").exists()  # looking leaves no trace


def test_a_batch_that_the_devices_cannot_share(stand_in):
    with pytest.raises(ValueError, match="batch_size is 6"):
        predictor.Predictor(stand_in.model, batch_size=6)
