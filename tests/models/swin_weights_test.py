import numpy as np
import pytest
import torch
import transformers

from rrsis_jax.configs import default
from rrsis_jax.models import registry
from rrsis_jax.models.backbones.swin import weights as swin_weights

pytestmark = pytest.mark.usefixtures("optimised_programs")

DEPTHS = (1, 2, 1, 1)
WIDTH = 8
HEADS = (1, 2, 2, 4)


def shapes(depths=DEPTHS):
    """Returns those of a tiny model's backbone."""
    config = default.get_config()
    config.model.vision.update(
        {"embed_dim": WIDTH, "depths": depths, "num_heads": HEADS, "window_size": 4}
    )
    return registry.build(config).shapes()["params"]["backbone"]


def official(window=4):
    """A random state dict in the official layout, heads and buffers included."""
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.standard_normal(shape, dtype=np.float32)

    weights = {"patch_embed.proj.weight": draw(WIDTH, 3, 4, 4)}
    for name in ("patch_embed.proj.bias", "patch_embed.norm.weight", "patch_embed.norm.bias"):
        weights[name] = draw(WIDTH)
    for stage, depth in enumerate(DEPTHS):
        c = WIDTH * 2**stage
        for block in range(depth):
            prefix = f"layers.{stage}.blocks.{block}."
            for name, out, into in (
                ("attn.qkv", 3 * c, c),
                ("attn.proj", c, c),
                ("mlp.fc1", 4 * c, c),
                ("mlp.fc2", c, 4 * c),
            ):
                weights[f"{prefix}{name}.weight"] = draw(out, into)
                weights[f"{prefix}{name}.bias"] = draw(out)
            for name in ("norm1", "norm2"):
                weights[f"{prefix}{name}.weight"] = draw(c)
                weights[f"{prefix}{name}.bias"] = draw(c)
            table = draw((2 * window - 1) ** 2, HEADS[stage])
            weights[f"{prefix}attn.relative_position_bias_table"] = table
            weights[f"{prefix}attn.relative_position_index"] = np.zeros((2, 2), np.int64)
        if stage < 3:
            weights[f"layers.{stage}.downsample.reduction.weight"] = draw(2 * c, 4 * c)
            weights[f"layers.{stage}.downsample.norm.weight"] = draw(4 * c)
            weights[f"layers.{stage}.downsample.norm.bias"] = draw(4 * c)
    weights["layers.1.blocks.1.attn_mask"] = draw(4, 16, 16)
    weights["norm.weight"] = weights["norm.bias"] = draw(8 * WIDTH)
    weights["head.weight"], weights["head.bias"] = draw(10, 8 * WIDTH), draw(10)
    return weights


def save_official(path, weights):
    torch.save({"model": {name: torch.tensor(x) for name, x in weights.items()}}, path)


def test_the_official_layout_fills_all_that_a_swin_has(tmp_path):
    weights = official()
    save_official(tmp_path / "swin.pth", weights)
    params, report = swin_weights.load(tmp_path / "swin.pth", shapes())
    block = params["layers_1"]["blocks_1"]
    np.testing.assert_array_equal(
        block["attn"]["qkv"]["kernel"], weights["layers.1.blocks.1.attn.qkv.weight"].T
    )
    np.testing.assert_array_equal(
        block["attn"]["relative_position_bias_table"],
        weights["layers.1.blocks.1.attn.relative_position_bias_table"],
    )
    assert "fusion" not in params["layers_0"]
    assert "norm0" not in params
    notes = {row.source: row.note for row in report.rows}
    assert notes["head.weight"] == "skipped: the classification head is not used"
    assert notes["layers.1.blocks.1.attn_mask"] == "skipped: mask buffer, recomputed"
    stays = {row.target for row in report.rows if row.note == "stays initialised"}
    assert "params/backbone/layers_0/gate/fc1/kernel" in stays
    assert "params/backbone/norm3/scale" in stays


@pytest.mark.parametrize("with_classifier", [True, False])
def test_hugging_face_folders_are_equal_to_the_official_layout(tmp_path, with_classifier):
    hf_config = transformers.SwinConfig(
        embed_dim=WIDTH, depths=list(DEPTHS), num_heads=list(HEADS), window_size=4, image_size=128
    )
    kind = transformers.SwinForImageClassification if with_classifier else transformers.SwinModel
    model = kind(hf_config)
    model.save_pretrained(tmp_path)
    params, _ = swin_weights.load(tmp_path, shapes())
    state = {name.removeprefix("swin."): x.numpy() for name, x in model.state_dict().items()}
    attention = "encoder.layers.3.blocks.0.attention."
    np.testing.assert_array_equal(
        params["layers_3"]["blocks_0"]["attn"]["qkv"]["kernel"],
        np.concatenate(
            [state[f"{attention}self.{p}.weight"].T for p in ("query", "key", "value")], 1
        ),
    )
    np.testing.assert_array_equal(
        params["layers_3"]["blocks_0"]["attn"]["proj"]["bias"],
        state[f"{attention}output.dense.bias"],
    )
    np.testing.assert_array_equal(
        params["layers_3"]["blocks_0"]["mlp"]["fc2"]["kernel"],
        state["encoder.layers.3.blocks.0.output.dense.weight"].T,
    )


@pytest.mark.parametrize(("window", "new_window"), [(7, 12), (12, 7), (4, 8)])
def test_position_tables_are_interpolated_as_pytorch_does(window, new_window):
    side, new_side = 2 * window - 1, 2 * new_window - 1
    table = np.random.default_rng(0).standard_normal((side**2, 3), dtype=np.float32)
    ours, note = swin_weights.interpolate_position_table(table, (new_side**2, 3))
    grid = torch.tensor(table).reshape(1, side, side, 3).permute(0, 3, 1, 2)
    theirs = torch.nn.functional.interpolate(grid, (new_side, new_side), mode="bicubic")
    theirs = theirs.permute(0, 2, 3, 1).reshape(-1, 3).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert note == f"window {window} interpolated to {new_window}"


def test_another_window_is_interpolated_and_reported(tmp_path):
    save_official(tmp_path / "swin.pth", official(window=7))
    params, report = swin_weights.load(tmp_path / "swin.pth", shapes())
    table = params["layers_0"]["blocks_0"]["attn"]["relative_position_bias_table"]
    assert table.shape == (49, 1)
    assert "window 7 interpolated to 4" in str(report)


def test_tables_that_are_no_windows_do_not_fit():
    assert swin_weights.interpolate_position_table(np.zeros((50, 1)), (49, 1)) is None
    assert swin_weights.interpolate_position_table(np.zeros((9, 2)), (49, 1)) is None


def test_another_size_is_refused_with_every_difference(tmp_path):
    save_official(tmp_path / "swin.pth", official())
    with pytest.raises(ValueError, match="missing, 13") as caught:
        swin_weights.load(tmp_path / "swin.pth", shapes(depths=(1, 2, 2, 1)))
    assert "layers.2.blocks.1.attn.qkv.weight" in str(caught.value)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"holds no weights: expected model\.safetensors, pytorch_model\.bin"
    ):
        swin_weights.load(tmp_path, shapes())
