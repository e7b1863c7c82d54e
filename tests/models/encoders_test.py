import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from flax import traverse_util
from PIL import Image

from rrsis_jax.models.backbones import encoders, naming
from rrsis_jax.models.backbones.sam2 import config as sam2_config
from rrsis_jax.models.backbones.sam2 import weights as sam2_weights
from rrsis_jax.weights import state_dicts
from rrsis_jax.weights.mapping import import_weights
from tests import shell_blocks
from tests.models.backbones import recordings
from tests.models.traced_types import assert_all_float64

ROOT = pathlib.Path(__file__).parents[2]
TINY = list(recordings.FIELDS)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # As transformers' PyTorch classes count, and the matrix of positions, 256.
        ("sam_vit_b", 93_735_472 + 256),
        ("sam_vit_l", 312_342_832 + 256),
        ("sam_vit_h", 641_090_608 + 256),
        ("sam2_hiera_tiny", 31_440_721 + 256),
        ("sam2_hiera_small", 38_538_577 + 256),
        ("sam2_hiera_base_plus", 73_328_401 + 256),
        ("sam2_hiera_large", 216_924_865 + 256),
        ("siglip_so400m_patch14_384", 877_960_498),
        ("siglip2_so400m_patch16_512", 1_136_555_698),
        ("beit3_large_patch16_224", 672_701_440),
    ],
)
def test_published_sizes_have_their_parameters(name, parameters):
    assert encoders.count(encoders.build(name)) == parameters


def test_sam_2_1_is_of_the_same_sizes():
    for name in encoders.names():
        if name.startswith("sam2_"):
            assert encoders.build(name) == encoders.build(name.replace("sam2_", "sam2.1_"))


# -- Types


def traced(network):
    """Returns the program of a network's call on abstract arrays."""
    variables = traverse_util.unflatten_dict(encoders.shapes(network), sep="/")
    inputs = encoders.FAMILIES[TINY_FAMILY[type(network)]].inputs(network)
    return jax.make_jaxpr(network.apply)(variables, *inputs)


TINY_FAMILY = {family.network: index for index, family in enumerate(encoders.FAMILIES)}


@pytest.mark.parametrize("name", TINY)
def test_float64_is_float64_throughout(name):
    with jax.enable_x64(True):
        network = recordings.network(name, dtype=jnp.float64, param_dtype=jnp.float64)
        assert_all_float64(traced(network).jaxpr)


@pytest.mark.parametrize("name", TINY)
def test_bfloat16_hands_scores_back_in_float32(name):
    network = recordings.network(name, dtype=jnp.bfloat16)
    program = traced(network)
    outputs = {aval.dtype for aval in program.out_avals}
    assert outputs == {np.dtype(jnp.bfloat16 if name == "beit3_tiny" else jnp.float32)}
    products = [e for e in program.eqns if e.primitive.name == "conv_general_dilated"]
    assert {e.outvars[0].aval.dtype for e in products} == {np.dtype(jnp.bfloat16)}
    assert {spec.dtype for spec in encoders.shapes(network).values()} == {np.dtype("float32")}


# -- Weights


def variables_of(name):
    golden = recordings.load(name)
    return encoders.import_state_dict(golden.network, golden.state_dict)[0]


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("sam_tiny", "meta"),
        ("sam_tiny", "huggingface"),
        ("sam2_tiny", "meta"),
        ("sam2_tiny", "huggingface"),
        ("siglip_tiny", "huggingface"),
        ("beit3_tiny", "authors"),
    ],
)
def test_every_layout_brings_the_same_weights_back(tmp_path, name, layout):
    network, variables = recordings.network(name), variables_of(name)
    encoders.save(network, variables, tmp_path / "weights.safetensors", layout)
    again = encoders.load(network, tmp_path / "weights.safetensors")
    jax.tree.map(np.testing.assert_array_equal, variables, again)


@pytest.mark.parametrize("name", ["sam_tiny", "sam2_tiny", "siglip_tiny"])
def test_written_names_and_shapes_are_those_of_transformers(tmp_path, name):
    settings = json.loads((recordings.GOLDENS / f"{name}_config.json").read_text())
    config_class, model_class = {
        "sam_tiny": (transformers.SamConfig, transformers.SamModel),
        "sam2_tiny": (transformers.Sam2Config, transformers.Sam2Model),
        "siglip_tiny": (transformers.SiglipConfig, transformers.SiglipModel),
    }[name]
    with torch.device("meta"):
        theirs = model_class(config_class(**settings)).state_dict()
    encoders.save(
        recordings.network(name), variables_of(name), tmp_path / "x.safetensors", "huggingface"
    )
    written = state_dicts.read_state_dict(tmp_path / "x.safetensors")
    buffers = r"prompt_encoder.shared_embedding.positional_embedding"
    expected = {key: tuple(x.shape) for key, x in theirs.items() if key != buffers}
    assert {key: x.shape for key, x in written.items()} == {
        key: shape for key, shape in expected.items() if not key.endswith("position_ids")
    }


def test_the_authors_names_of_sam_2_are_all_known():
    """A recording of a larger network holds SAM 2 under the authors' names."""
    state_dict = {
        key: np.ones(shape, np.float32)
        for key, shape in recordings.manifest("rs2sam2_small").items()
        if key.startswith("visual_model.")
        and "Adapter" not in key
        and "vlfusion" not in key  # what that network adds
    }
    network = recordings.network("sam2_tiny", depths=(1, 2, 4, 1), global_blocks=(5,))
    rules = sam2_weights.network_rules(0, theirs="visual_model.")
    flat, _ = import_weights(state_dict, rules, [], encoders.shapes(network))
    assert len(flat) == len(state_dict)


@pytest.mark.parametrize(
    ("name", "extra", "reason"),
    [
        ("sam_tiny", "pixel_mean", None),  # of the authors' layout, not of Hugging Face's
        ("sam_tiny", "prompt_encoder.shared_embedding.positional_embedding", "copy of the image's"),
        ("sam2_tiny", "memory_attention.layers.0.norm1.weight", "only video has a memory"),
        ("sam2_tiny", "no_object_pointer", "only video has a memory"),
        ("siglip_tiny", "text_model.embeddings.position_ids", "index buffer"),
        ("beit3_tiny", "beit3.vision_embed.mask_token", "pretraining only"),
        ("beit3_tiny", "beit3.pooler.weight", None),
    ],
)
def test_only_named_extras_are_left_out(name, extra, reason):
    golden = recordings.load(name)
    state_dict = {**golden.state_dict, extra: np.zeros(3, np.float32)}
    if reason is None:
        with pytest.raises(ValueError, match=f"unknown, 1[^:]*:\n  {extra}"):
            encoders.import_state_dict(golden.network, state_dict)
        return
    _, report = encoders.import_state_dict(golden.network, state_dict)
    (row,) = [row for row in report.rows if row.source == extra]
    assert reason in row.note


def test_weights_of_another_network_are_named():
    golden = recordings.load("sam2_tiny")
    with pytest.raises(
        ValueError, match=r"the weights are of SAM 2, and the network is SAM, which"
    ):
        encoders.import_state_dict(recordings.network("sam_tiny"), golden.state_dict)


def test_weights_of_no_network_are_named():
    with pytest.raises(ValueError, match="are of no encoder that is known here"):
        encoders.import_state_dict(recordings.network("sam_tiny"), {"x": np.zeros(1)})


@pytest.fixture
def small_sizes(monkeypatch):
    """Published sizes are those of the recordings, so that looking through them takes no time."""
    families = tuple(
        dataclasses.replace(family, sizes={name: recordings.FIELDS[name]})
        for family, name in zip(encoders.FAMILIES, TINY, strict=True)
    )
    monkeypatch.setattr(encoders, "FAMILIES", families)
    monkeypatch.setattr(encoders, "_published_shapes", lambda n: encoders.shapes(encoders.build(n)))


@pytest.mark.usefixtures("small_sizes")
def test_weights_of_another_size_are_named():
    golden = recordings.load("siglip_tiny")
    with pytest.raises(
        ValueError, match=r"are those of siglip_tiny, and the network is of another"
    ):
        encoders.import_state_dict(golden.network.clone(depth=3), golden.state_dict)


@pytest.mark.usefixtures("small_sizes")
def test_weights_of_no_published_size_are_refused_with_every_difference():
    golden = recordings.load("siglip_tiny")
    state_dict = {name: x for name, x in golden.state_dict.items() if ".layers.1." not in name}
    with pytest.raises(ValueError, match="missing, 32") as caught:
        encoders.import_state_dict(golden.network, state_dict)
    assert "text_model.encoder.layers.1.mlp.fc1.weight" in str(caught.value)


def test_a_layout_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(ValueError, match="SigLIP is not published in the layout 'meta'"):
        encoders.save(recordings.network("siglip_tiny"), {}, tmp_path / "x.safetensors", "meta")


def test_a_folder_of_hugging_face_is_read(tmp_path):
    golden = recordings.load("siglip_tiny")
    state_dicts.write_state_dict(tmp_path / "model.safetensors", golden.state_dict)
    variables = encoders.load(golden.network, tmp_path)
    np.testing.assert_array_equal(
        variables["params"]["text"]["head"]["kernel"], golden.state_dict["text_model.head.weight"].T
    )


def test_adapters_have_the_names_that_peft_gives_them():
    lora = naming.Lora(rank=4, alpha=2, layers=r"attn/qkv")
    rules = naming.with_adapters(
        [
            *naming.linear("blocks.{i}.attn.qkv", "params/blocks_{i}/attn/qkv"),
            *naming.linear("blocks.{i}.attn.proj", "params/blocks_{i}/attn/proj"),
        ],
        lora,
    )
    assert [(rule.source.split("attn.")[1], rule.target.split("attn/")[1]) for rule in rules] == [
        ("qkv.base_layer.weight", "qkv/kernel"),
        ("qkv.lora_A.default.weight", "qkv/lora_a"),
        ("qkv.lora_B.default.weight", "qkv/lora_b"),
        ("qkv.base_layer.bias", "qkv/bias"),
        ("proj.weight", "proj/kernel"),
        ("proj.bias", "proj/bias"),
    ]


# -- Names, pixels, documentation


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("sam3", {}, "there is no encoder 'sam3'; expected one of sam_vit_b, sam_vit_l"),
        (
            "sam_vit_b",
            {"deph": 2},
            "SAM has no deph; its fields are decoder_epsilon, decoder_heads",
        ),
    ],
)
def test_names_that_there_are_not_are_refused(name, fields, message):
    with pytest.raises(ValueError, match=message):
        encoders.build(name, **fields)


def test_pixels_are_normalised_as_each_network_was_trained():
    pixels = np.full((1, 1, 1, 3), 255, np.uint8)
    siglip = encoders.normalize(recordings.network("siglip_tiny"), pixels)
    np.testing.assert_array_equal(siglip, np.ones((1, 1, 1, 3), np.float32))
    sam = encoders.normalize(recordings.network("sam_tiny"), pixels)
    np.testing.assert_allclose(sam[0, 0, 0, 0], (1 - 0.485) / 0.229, rtol=1e-6)


def test_pixels_of_another_type_are_refused():
    with pytest.raises(ValueError, match="came as float32; expected uint8 RGB from 0 to 255"):
        encoders.normalize(recordings.network("sam_tiny"), np.ones((1, 2, 2, 3), np.float32))


def test_a_module_that_is_no_encoder_is_refused():
    with pytest.raises(ValueError, match="a Dense is no encoder"):
        encoders.count(encoders.nn.Dense(3))


def test_the_documentation_runs_as_it_is_shown(tmp_path, monkeypatch, capsys):
    """On a network and a picture of a few pixels, with weights that are drawn."""
    fields = recordings.FIELDS["sam2_tiny"]
    monkeypatch.setitem(sam2_config.SIZES, "sam2.1_hiera_tiny", fields)
    monkeypatch.chdir(tmp_path)
    golden = recordings.load("sam2_tiny")
    encoders.save(golden.network, variables_of("sam2_tiny"), "sam2.1_hiera_tiny.pt")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save("aerial.png")
    blocks = shell_blocks.blocks(ROOT / "docs/encoders.md", ROOT)
    space = {}
    for block in blocks:
        assert block.language == "python"
        exec(block.body, space)
    assert "'stride16': (1, 8, 8, 32)" in capsys.readouterr().out
    assert space["mask"].shape == (32, 32)
    assert space["mask"].dtype == bool
