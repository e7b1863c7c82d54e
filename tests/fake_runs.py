"""Stand-ins without a network: a segmenter, runs with known predictions of a dataset, a scene."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import rasterio
import tensorflow_datasets as tfds
from rasterio.transform import from_origin

from rrsis_jax.configuration import run_folder
from rrsis_jax.data import annotations, contents
from rrsis_jax.data.inputs import MAIN, ImageInput, Inputs
from rrsis_jax.evaluation import mask_files, native_protocol, sample_table, scores
from rrsis_jax.evaluation.sample_table import Sample, SampleTable
from rrsis_jax.models.contract import Outputs
from rrsis_jax.models.lavt.model import Lavt
from rrsis_jax.models.layers.images import normalize
from rrsis_jax.prediction import trained_model
from tests.tiny_config import get_config as make_tiny_config

SPLIT = "train"
TILE = 32  # pixels of the stand-in model's square
SIZE = 48  # of the scenes, so that both protocols count the same pixels


class ThresholdNetwork(nn.Module):
    """Prefers the target where the image is bright, by the phrase; has no variables."""

    @nn.compact
    def __call__(self, images, text, train=False):
        level = jnp.mean(normalize(images["image"]), axis=-1)
        shift = jnp.sum(text["input_ids"] * text["attention_mask"], axis=-1) % 7 / 7.0
        return Outputs(level - shift.reshape((-1, 1, 1)) + 0.3)


class Threshold(Lavt):
    """LAVT's inputs and tokenizer with a network of one line."""

    def network(self, axis_name=None):
        return ThresholdNetwork()


def stand_in_model(tokenizer, traces):
    """Returns a model whose log-odds are a function of each pixel's own brightness.

    `traces` gets the name and the rows of every program that is compiled.
    """

    def encode_text(variables, text):
        traces.append(("encode_text", text["input_ids"].shape[0]))
        return {"first_word": text["input_ids"][:, 1].astype(jnp.float32)}

    def encode_image(variables, images):
        traces.append(("encode_image", images["image"].shape[0]))
        return {"level": jnp.mean(images["image"].astype(jnp.float32), axis=-1) / 255.0}

    def segment(variables, image, text):
        traces.append(("segment", image["level"].shape[0]))
        gain, first_word = variables["gain"].reshape(1, 1, 1), text["first_word"]
        return gain * (image["level"] - 0.5) + 0.001 * first_word.reshape(-1, 1, 1)

    return trained_model.TrainedModel(
        encode_text=encode_text,
        encode_image=encode_image,
        segment=segment,
        variables={"gain": np.full(1, 9.0, np.float32)},
        tokenizer=tokenizer,
        inputs=Inputs({MAIN: ImageInput(TILE)}, target_size=TILE),
        gsd=None,
    )


def write_run(folder, scene_folder, data_dir, shift, split=SPLIT):
    """Writes a run whose predictions are the targets, moved down by `shift` rows."""
    config = make_tiny_config()
    config.data.dataset = "refsegrs/folder"
    config.data.folder = str(scene_folder)
    config.data.data_dir = str(data_dir)
    config.data.image_size = SIZE
    builder = tfds.builder(
        config.data.dataset,
        path=scene_folder,
        data_dir=data_dir / "array_record",
        file_format="array_record",
    )
    builder.download_and_prepare()
    mask_files.masks_folder(folder, split).mkdir(parents=True)
    (folder / "config.json").write_text(config.to_json())
    samples = []
    for index, found in enumerate(annotations.describe(builder, split)):
        target = annotations.decode_mask(found.encoded_mask)
        predicted = np.roll(target, shift, axis=0)
        mask_files.save(mask_files.masks_folder(folder, split), index, predicted, predicted)
        counts = native_protocol.intersection_and_union(predicted, target)
        facts = {key: getattr(found, key) for key in ("image_id", "tile", "phrase", "category")}
        facts |= {key: getattr(found, key) for key in ("form", "size", "target_share")}
        samples.append(Sample(index, *facts.values(), *counts, *counts, found.target))
    about = {
        "split": split,
        "dataset": builder.info.full_name,
        "data": dataclasses.asdict(contents.read(builder).splits[split]),
        "image_size": SIZE,
        "model": "lgce",
        "checkpoint_step": 12,
        "config_sha256": run_folder.config_hash(config),
        scores.LANGUAGE_CHECK: 0.0125,
    }
    table = SampleTable(about, samples)
    sample_table.save(table, folder)
    return table


def write_scene(path):
    """Writes 40 × 50 pixels of half a metre in UTM."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 50), np.uint8)
    place = {"crs": "EPSG:32633", "transform": from_origin(400000, 5000000, 0.5, 0.5)}
    with rasterio.open(
        path, "w", driver="GTiff", height=40, width=50, count=3, dtype="uint8", **place
    ) as scene:
        scene.write(pixels)
