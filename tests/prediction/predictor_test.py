"""Images of any size and expressions to probabilities and masks."""

import dataclasses
import logging

import jax
import numpy as np
import pytest
from PIL import Image

from rrsis_jax.configuration import run_folder
from rrsis_jax.models import registry
from rrsis_jax.prediction import predictor

TEXTS = ["tree", "red car", "road", "car", "grey", "red", "marking", "building", "the road"]


@pytest.fixture(scope="module")
def log_odds_of(live, workdir):
    """Returns the network's log-odds (32, 32) of one square and one expression."""
    network = jax.jit(registry.build(run_folder.load(workdir)).network().apply)

    def call(square, text):
        tokens = {name: x[None] for name, x in live.model.tokenizer(text).items()}
        return network(live.model.variables, {"image": square[None]}, tokens).log_odds[0]

    return call


def make_squares(count):
    return list(np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3), np.uint8))


def test_an_image_of_the_models_size_gives_the_models_own_numbers(live, log_odds_of, image):
    square = image[:32, :32]
    found = live.predict(square, ["red car", "tree"])
    expected = np.stack([log_odds_of(square, text) for text in found.expressions])
    np.testing.assert_allclose(found.probabilities, jax.nn.sigmoid(expected), atol=1e-5)
    np.testing.assert_array_equal(found.masks, expected > 0)
    assert np.ptp(found.probabilities) > 1e-3  # the comparison is not of constants


@pytest.mark.parametrize(("batch_size", "backend"), [(4, "pmap"), (8, "shard_map")])
def test_every_pair_gets_the_answer_of_the_network_alone(live, log_odds_of, batch_size, backend):
    several = predictor.Predictor(dataclasses.replace(live.model, backend=backend), batch_size)
    for squares, texts in ((make_squares(1), TEXTS), (make_squares(6), TEXTS[:3])):
        found = np.stack(list(several.log_odds(squares, several.encode(texts))))
        expected = np.stack([[log_odds_of(x, text) for text in texts] for x in squares])
        np.testing.assert_allclose(found, expected, atol=1e-5)
        across = np.abs(expected - np.roll(expected, 1, axis=1)).max(axis=(2, 3))
        assert across.min() > 1e-4  # no expression could stand for the next one


@pytest.mark.parametrize("batch_size", [4, 8])
@pytest.mark.parametrize(
    ("squares", "texts"), [(1, 1), (1, 9), (2, 5), (4, 1), (5, 3), (8, 2), (9, 4), (21, 1)]
)
def test_pairs_come_in_the_order_of_squares_and_expressions(stand_in, batch_size, squares, texts):
    several = predictor.Predictor(stand_in.model, batch_size)
    pixels, model = make_squares(squares), stand_in.model
    found = list(several.log_odds(pixels, several.encode(TEXTS[:texts])))
    assert len(found) == squares
    for square, answers in zip(pixels, found, strict=True):
        assert answers.shape == (texts, 32, 32)
        assert answers.dtype == np.float32
        image = model.encode_image(model.variables, {"image": square[None]})
        for text, answer in zip(TEXTS, answers, strict=False):
            tokens = {name: x[None] for name, x in model.tokenizer(text).items()}
            alone = model.segment(
                model.variables, image, model.encode_text(model.variables, tokens)
            )
            np.testing.assert_allclose(answer, alone[0], atol=1e-6)


def test_squares_and_expressions_are_numbered_by_the_caller(stand_in):
    pixels, phrases = make_squares(5), stand_in.encode(["tree", "red car"])
    numbers = [7, 3, 11, 0, 5]
    found = list(stand_in.probabilities(zip(numbers, pixels, strict=True), phrases))
    assert [number for number, _ in found] == numbers
    for (_, shares), log_odds in zip(found, stand_in.log_odds(pixels, phrases), strict=True):
        np.testing.assert_allclose(shares, jax.nn.sigmoid(log_odds), atol=1e-6)


def test_no_squares_have_no_answers(stand_in):
    assert list(stand_in.log_odds([], stand_in.encode(["tree"]))) == []


def test_results_have_the_images_own_size(stand_in, image):
    for tiled in (False, True):
        found = stand_in.predict(image, ["tree", "red car", "tree"], tiled=tiled)
        assert found.probabilities.shape == found.masks.shape == (3, 75, 90)
        assert found.probabilities.dtype == np.float32
        np.testing.assert_array_equal(found.probabilities[0], found.probabilities[2])
        np.testing.assert_array_equal(found.masks, found.probabilities > 0.5)


def test_tiled_equals_untiled_for_a_translation_invariant_model(stand_in, image):
    found = stand_in.predict(image, ["tree"], tiled=True, overlap=0.25)
    first_word = stand_in.model.tokenizer("tree")["input_ids"][1]
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
    # Rows a device: of the two batch sizes.
    pairs = [(name, rows) for name in ("encode_image", "segment") for rows in (1, 2)]
    assert sorted(stand_in.traces) == sorted([("encode_text", 1), *pairs])


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
    ("expression", "cut"),
    [
        ("tree", ""),
        ("building along the grey road tree", ""),  # [CLS], 6 words and [SEP]
        ("building along the grey road tree car", ""),  # 7 words: only [SEP] is cut
        ("building along the grey road tree car the road", "the road"),
    ],
)
def test_the_end_that_does_not_fit(live, expression, cut):
    assert live.model.tokenizer.cut_words(expression) == cut


@pytest.mark.parametrize(
    "expressions", [[], "tree", b"tree", None, 3, [3], ["tree", None], np.array("tree"), [b"tree"]]
)
def test_no_list_of_expressions(stand_in, image, expressions):
    with pytest.raises(ValueError, match="Expected a list of expressions"):
        stand_in.predict(image, expressions)


def test_an_empty_expression(stand_in, image):
    with pytest.raises(ValueError, match="'  ' is empty; say what to segment"):
        stand_in.predict(image, ["tree", "  "])


@pytest.mark.parametrize(
    ("pixels", "told"),
    [
        (np.zeros((9, 9), np.uint8), r"uint8 \(9, 9\) from 0 to 0"),
        (np.ones((9, 9, 3)), r"float64 \(9, 9, 3\) from 1 to 1"),
        (np.zeros((0, 9, 3), np.uint8), r"uint8 \(0, 9, 3\)\."),
        (np.full((9, 9, 3), 256), r"int64 \(9, 9, 3\) from 256 to 256"),
        (np.full((9, 9, 3), -1), r"int64 \(9, 9, 3\) from -1 to -1"),
        ([[[1, 2, 3]], [[1, 2]]], "list"),
        (None, "NoneType"),
        ({"image": 1}, "dict"),
        (b"png", "bytes"),
        (np.zeros((9, 9, 3), bool), "ndarray"),
    ],
)
def test_what_is_no_image(stand_in, pixels, told):
    wanted = r"Expected an image of uint8 \(H, W, 3\) or \(H, W, 4\), a PIL image or a path, got "
    with pytest.raises(ValueError, match=wanted + told):
        stand_in.predict(pixels, ["tree"])


def test_images_and_expressions_are_taken_in_every_form(stand_in, image, tmp_path):
    Image.fromarray(image).save(tmp_path / "image.png")
    opaque = np.dstack([image, np.full((75, 90), 255, np.uint8)])
    forms = [str(tmp_path / "image.png"), Image.fromarray(image), jax.numpy.asarray(image)]
    forms += [image.tolist(), image.astype(np.int64), opaque, Image.fromarray(opaque)]
    expected = stand_in.predict(image, ["tree", "red car"])
    for form in forms:
        same = stand_in.predict(form, np.array(["tree", "red car"]))
        np.testing.assert_array_equal(same.probabilities, expected.probabilities)
        assert same.expressions == ("tree", "red car")
        assert all(type(text) is str for text in same.expressions)
    one = stand_in.predict(image, (text for text in ("tree",)))
    np.testing.assert_array_equal(one.masks, expected.masks[:1])


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_photo_is_turned_upright(stand_in, image, tmp_path, orientation):
    turns = {3: 2, 6: 1, 8: 3}[orientation]  # quarter turns that the stored pixels went left
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.rot90(image, turns).copy())
    stored.save(tmp_path / "photo.png", exif=exif)
    found = stand_in.predict(tmp_path / "photo.png", ["tree"])
    np.testing.assert_array_equal(found.masks, stand_in.predict(image, ["tree"]).masks)


def test_nothing_is_found_where_an_image_is_transparent(stand_in, tmp_path):
    bright = np.full((40, 40, 3), 250, np.uint8)
    alpha = np.full((40, 40), 255, np.uint8)
    alpha[:20], alpha[20:30] = 0, 1  # 1 is seen
    layers = np.dstack([bright, alpha])
    Image.fromarray(layers).save(tmp_path / "holes.png")
    indexed = Image.fromarray(bright[..., 0], "L").convert("P")
    indexed.info["transparency"] = 250
    for form in (layers, Image.fromarray(layers), tmp_path / "holes.png"):
        for tiled in (False, True):
            found = stand_in.predict(form, ["tree"], tiled=tiled)
            np.testing.assert_array_equal(found.masks[0], alpha > 0)
            assert (found.probabilities[0, :20] == 0).all()
    for nothing in (np.zeros((9, 9, 4), np.uint8), indexed):
        with pytest.raises(ValueError, match="transparent altogether"):
            stand_in.predict(nothing, ["tree"])


def test_unread_words_are_named_and_nothing_but_them_is_refused(stand_in, image, caplog):
    with caplog.at_level(logging.WARNING, logger="absl"):
        for _ in range(2):
            stand_in.predict(image, ["tree", "red qqqq", "水 tree"])
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "The model's vocabulary does not have these words of 'red qqqq': 'qqqq'.",
        "The model's vocabulary does not have these words of '水 tree': '水'.",
    ]
    for nonsense in ("qqqq", "水", "zzz qqqq", "qqqq!"):
        with pytest.raises(ValueError, match=r"has no word of .*--allow-unread") as error:
            stand_in.predict(image, ["tree", nonsense])
        assert repr(nonsense) in str(error.value)
        found = stand_in.predict(image, ["tree", nonsense], allow_unread=True)
        assert found.masks.shape == (2, 75, 90)


@pytest.mark.parametrize("texts", [1, 9])
def test_a_square_and_an_expression_are_encoded_once(stand_in, image, texts):
    model, encoded = stand_in.model, {"encode_image": [], "encode_text": []}

    def counted(name):
        def call(variables, tree):
            (leaf,) = (tree[key] for key in ("image", "input_ids") if key in tree)
            jax.debug.callback(lambda rows: encoded[name].extend(map(bytes, rows)), leaf)
            return getattr(model, name)(variables, tree)

        return call

    counting = dataclasses.replace(model, **{name: counted(name) for name in encoded})
    several = predictor.Predictor(counting, batch_size=8)
    for _ in range(2):
        several.predict(image, TEXTS[:texts], tiled=True)
    jax.effects_barrier()
    squares = encoded["encode_image"]
    assert len(set(squares)) == 12
    assert len(squares) == 2 * 12  # in either call, whatever the expressions are
    assert len(set(encoded["encode_text"])) == texts
    assert len(encoded["encode_text"]) == 4 * texts  # once on each device, for both calls


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
