import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from rrsis_jax.models.layers import (
    convolution,
    drop_path,
    normalization,
    precision,
    resize,
    rotated_convolution,
    sums,
)


def test_resize_keeps_the_corners_and_is_linear_between():
    ramp = jnp.arange(4.0).reshape(1, 2, 2, 1)
    resized = resize.resize_aligned(ramp, 3, 5)[0, :, :, 0]
    expected = [[0, 0.25, 0.5, 0.75, 1], [1, 1.25, 1.5, 1.75, 2], [2, 2.25, 2.5, 2.75, 3]]
    np.testing.assert_allclose(resized, expected, atol=1e-6)


@pytest.mark.parametrize("size", [(7, 9), (1, 1), (1, 3), (5, 6), (13, 4)])
def test_resize_equals_pytorch_with_aligned_corners(size):
    x = np.random.default_rng(0).standard_normal((2, 5, 6, 3), dtype=np.float32)
    ours = resize.resize_aligned(jnp.asarray(x), *size)
    theirs = torch.nn.functional.interpolate(
        torch.tensor(x).permute(0, 3, 1, 2), size, mode="bilinear", align_corners=True
    )
    np.testing.assert_allclose(ours, theirs.permute(0, 2, 3, 1).numpy(), atol=1e-6)


def test_a_single_pixel_fills_the_whole_map():
    assert (resize.resize_aligned(jnp.full((1, 1, 1, 2), 3.0), 4, 5) == 3.0).all()


def test_instance_norm_normalises_each_channel_of_each_sample():
    x = 5 + 3 * np.random.default_rng(0).standard_normal((2, 50, 4), dtype=np.float32)
    normal = np.asarray(normalization.instance_norm(jnp.asarray(x)))
    np.testing.assert_allclose(normal.mean(axis=1), 0.0, atol=1e-6)
    np.testing.assert_allclose(normal.var(axis=1), 1.0, atol=1e-5)


def run_batch_norm(x, **kwargs):
    module = normalization.BatchNorm(**kwargs)
    variables = module.init(jax.random.key(0), x, train=False)
    return module, variables


def test_running_variance_is_the_unbiased_one():
    x = jnp.array([1.0, 2.0, 3.0, 6.0]).reshape(2, 2, 1, 1)  # mean 3, biased 3.5, unbiased 14/3
    module, variables = run_batch_norm(x)
    out, updated = module.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(updated["batch_stats"]["mean"], [0.3], rtol=1e-6)
    np.testing.assert_allclose(updated["batch_stats"]["var"], [0.9 + 1.4 / 3], rtol=1e-6)
    np.testing.assert_allclose(out.ravel(), np.array([-2, -1, 0, 3]) / np.sqrt(3.50001), rtol=1e-5)


def test_statistics_over_devices_are_those_of_the_global_batch():
    x = jax.random.normal(jax.random.key(1), (8, 3, 2, 5)) * 2 + 7
    module, variables = run_batch_norm(x)
    whole, expected = module.apply(variables, x, train=True, mutable=["batch_stats"])
    synchronised = normalization.BatchNorm(axis_name="batch")
    shares, updated = jax.pmap(
        lambda share: synchronised.apply(variables, share, train=True, mutable=["batch_stats"]),
        axis_name="batch",
    )(x.reshape(4, 2, 3, 2, 5))
    np.testing.assert_allclose(shares.reshape(x.shape), whole, atol=1e-5)
    for name, value in expected["batch_stats"].items():
        for device in range(4):
            np.testing.assert_allclose(updated["batch_stats"][name][device], value, rtol=1e-5)


def test_evaluation_uses_running_statistics_and_keeps_them():
    x = jnp.ones((1, 2, 2, 1))
    module, _ = run_batch_norm(x)
    variables = {
        "params": {"scale": jnp.array([2.0]), "bias": jnp.array([1.0])},
        "batch_stats": {"mean": jnp.array([0.5]), "var": jnp.array([0.25])},
    }
    out, updated = module.apply(variables, x, train=False, mutable=["batch_stats"])
    np.testing.assert_allclose(out, 3.0, rtol=1e-4)
    assert updated["batch_stats"] == variables["batch_stats"]


def test_drop_path_drops_whole_samples_and_keeps_the_expectation():
    x = jnp.ones((4000, 2, 2, 1))
    out = drop_path.DropPath(0.25).apply({}, x, train=True, rngs={"dropout": jax.random.key(0)})
    per_sample = out.reshape(4000, -1)
    assert (per_sample == per_sample[:, :1]).all()
    assert set(np.unique(per_sample)) == {0.0, np.float32(4 / 3)}
    assert abs(float(out.mean()) - 1.0) < 0.03


def test_drop_path_rests_in_evaluation_and_at_rate_zero():
    x = jnp.ones((3, 1, 1, 1))
    assert (drop_path.DropPath(0.9).apply({}, x, train=False) == x).all()
    assert (drop_path.DropPath(0.0).apply({}, x, train=True) == x).all()


def test_the_convolutions_gradients_are_those_of_jax():
    x = jax.random.normal(jax.random.key(0), (2, 4, 5, 3))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 3, 2))
    weights = jax.random.normal(jax.random.key(2), (2, 4, 5, 2))

    def plain(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def gradients(convolve):
        loss = jax.grad(lambda x, kernel: jnp.sum(weights * convolve(x, kernel)), argnums=(0, 1))
        return jax.jit(loss)(x, kernel)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        gradients(convolution.convolve_same),
        gradients(plain),
    )


def test_every_sample_meets_its_own_kernel():
    x = jax.random.normal(jax.random.key(0), (2, 4, 5, 3))
    kernels = jax.random.normal(jax.random.key(1), (2, 9, 3, 4))
    weights = jax.random.normal(jax.random.key(2), (2, 4, 5, 4))

    def plain(x, kernels):
        convolved = [
            jax.lax.conv_general_dilated(
                image[None],
                kernel.reshape(3, 3, 3, 4),
                (1, 1),
                "SAME",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
            for image, kernel in zip(x, kernels, strict=True)
        ]
        return jnp.concatenate(convolved)

    def with_gradients(convolve):
        def loss(x, kernels):
            convolved = convolve(x, kernels)
            return jnp.sum(weights * convolved), convolved

        return jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(x, kernels)

    expected = with_gradients(plain)
    for convolve in (rotated_convolution.convolve_each, rotated_convolution.convolve_by_taps):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
            with_gradients(convolve),
            expected,
        )


def test_spreading_repeats_and_its_gradient_sums():
    x, weights = jnp.arange(6.0).reshape(2, 3), jnp.arange(48.0).reshape(2, 4, 2, 3)

    def loss(x):
        repeated = sums.spread(x, weights.shape)
        return jnp.sum(repeated * weights), repeated

    gradient, repeated = jax.jit(jax.grad(loss, has_aux=True))(x)
    np.testing.assert_array_equal(repeated, np.broadcast_to(x, weights.shape))
    np.testing.assert_allclose(gradient, np.sum(weights, (0, 1)), rtol=1e-6)


@pytest.mark.parametrize(
    ("narrow", "wide"), [("bfloat16", "float32"), ("float32", "float32"), ("float64", "float64")]
)
def test_norms_and_softmax_compute_in_float32_or_wider(narrow, wide):
    with jax.enable_x64(True):
        assert precision.wide_type(narrow) == wide
        assert precision.at_least_float32(jnp.ones(2, narrow)).dtype == wide


def test_masks_of_whole_numbers_become_float32():
    with jax.enable_x64(True):
        assert precision.at_least_float32(jnp.ones(2, jnp.int64)).dtype == jnp.float32
