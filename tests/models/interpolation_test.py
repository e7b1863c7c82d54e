import jax
import numpy as np
import pytest
import torch

from rrsis_jax.models.layers import interpolation


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("kind", ["linear", "cubic"])
@pytest.mark.parametrize("sizes", [((5, 7), (12, 9)), ((8, 6), (3, 6))])
def test_resizes_as_pytorch_does(kind, aligned, sizes):
    (height, width), size = sizes
    x = np.random.default_rng(0).standard_normal((2, height, width, 3))
    with jax.enable_x64(True):
        ours = interpolation.resize(jax.numpy.asarray(x), *size, kind, aligned)
    theirs = torch.nn.functional.interpolate(
        torch.tensor(x).permute(0, 3, 1, 2),
        size,
        mode={"linear": "bilinear", "cubic": "bicubic"}[kind],
        align_corners=aligned,
    )
    np.testing.assert_allclose(ours, theirs.permute(0, 2, 3, 1).numpy(), atol=1e-12)


def test_bfloat16_stays_bfloat16():
    x = jax.numpy.ones((1, 4, 4, 1), "bfloat16")
    assert interpolation.resize(x, 8, 8).dtype == "bfloat16"
