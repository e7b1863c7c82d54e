import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from rrsis_jax.models.layers.adapters import Conv, Dense, Lora, merge, unmerge

LORA = Lora(rank=2, alpha=6)


class Pair(nn.Module):
    """A convolution of stride 2 and a linear layer, with adapters or without."""

    lora: Lora | None = None

    @nn.compact
    def __call__(self, x, train=False):
        x = Conv(5, (3, 3), strides=2, padding=1, lora=self.lora, name="conv")(x, train)
        return Dense(4, lora=self.lora, name="head")(jnp.tanh(x), train)


@pytest.fixture(scope="module")
def x():
    return jax.random.normal(jax.random.key(0), (2, 6, 8, 3))


@pytest.fixture(scope="module")
def params(x):
    """Parameters whose adapters do something."""
    params = Pair(LORA).init(jax.random.key(1), x)["params"]
    return jax.tree.map(
        lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(2), leaf.shape), params
    )


def test_a_new_adapter_changes_nothing(x):
    params = Pair(LORA).init(jax.random.key(1), x)["params"]
    shapes = {
        "conv": {
            "bias": (5,),
            "kernel": (3, 3, 3, 5),
            "lora_a": (3, 3, 3, 2),
            "lora_b": (1, 1, 2, 5),
        },
        "head": {"bias": (4,), "kernel": (5, 4), "lora_a": (5, 2), "lora_b": (2, 4)},
    }
    assert jax.tree.map(jnp.shape, params) == shapes
    plain = {
        name: {leaf: value for leaf, value in layer.items() if "lora" not in leaf}
        for name, layer in params.items()
    }
    adapted = Pair(LORA).apply({"params": params}, x)
    np.testing.assert_array_equal(adapted, Pair().apply({"params": plain}, x))


def test_merged_kernels_do_what_kernels_with_adapters_do(x, params):
    adapted = Pair(LORA).apply({"params": params}, x)
    merged = merge(params, LORA)
    assert set(merged["conv"]) == {"kernel", "bias"}
    np.testing.assert_allclose(Pair().apply({"params": merged}, x), adapted, rtol=1e-5, atol=1e-5)
    head = params["head"]
    by_hand = head["kernel"] + 3.0 * (head["lora_a"] @ head["lora_b"])
    np.testing.assert_allclose(merged["head"]["kernel"], by_hand, rtol=1e-6)


def test_unmerging_brings_every_kernel_back(params):
    merged = merge(params, LORA)
    back = unmerge(merged, params, LORA)
    assert jax.tree.structure(back) == jax.tree.structure(jax.tree.map(np.asarray, params))
    for layer in params:
        kernel, sum_ = np.asarray(params[layer]["kernel"]), merged[layer]["kernel"]
        # One rounding was lost in the merge, of the larger of the two.
        bound = np.spacing(np.maximum(np.abs(kernel), np.abs(sum_)))
        assert (np.abs(back[layer]["kernel"] - kernel) <= bound).all()
        for leaf in ("bias", "lora_a", "lora_b"):
            np.testing.assert_array_equal(back[layer][leaf], params[layer][leaf])
        np.testing.assert_array_equal(merge(back, LORA)[layer]["kernel"], sum_)


def test_sums_that_float32_holds_come_back_to_the_bit():
    rng = np.random.default_rng(0)
    kernel, a, b = (rng.integers(-8, 9, shape) / 4 for shape in ((6, 5), (6, 2), (2, 5)))
    leaves = {"kernel": kernel, "lora_a": a, "lora_b": b}
    params = {"x": {name: leaf.astype(np.float32) for name, leaf in leaves.items()}}
    back = unmerge(merge(params, LORA), params, LORA)
    np.testing.assert_array_equal(back["x"]["kernel"], params["x"]["kernel"])


def test_adapters_of_another_network_are_refused(params):
    with pytest.raises(ValueError, match="an adapter belongs to head/kernel, which the merged"):
        unmerge({"conv": merge(params, LORA)["conv"]}, params, LORA)


@pytest.mark.parametrize(
    ("layers", "path", "covered"),
    [
        ("attn/(qkv|proj)", "trunk/blocks_3/attn/qkv", True),
        ("attn/(qkv|proj)", "trunk/blocks_3/proj", False),
        ("proj", "blocks_3/q_proj", False),
        ("proj", "proj", True),
        (".*", "anything", True),
    ],
)
def test_layers_are_named_by_the_end_of_their_path(layers, path, covered):
    assert Lora(1, 1, layers=layers).covers(path.split("/")) == covered


def test_layers_that_are_not_named_are_plain(x):
    params = Pair(Lora(2, 2, layers="head")).init(jax.random.key(0), x)["params"]
    assert set(params["conv"]) == {"kernel", "bias"}
    assert set(params["head"]) == {"kernel", "bias", "lora_a", "lora_b"}


def test_dropout_acts_on_the_adapter_alone(x, params):
    lora = Lora(2, 6, dropout=0.5)
    variables = {"params": params}
    plain = Pair(lora).apply(variables, x)
    np.testing.assert_array_equal(plain, Pair(LORA).apply(variables, x))
    first, second = (
        Pair(lora).apply(variables, x, True, rngs={"dropout": jax.random.key(seed)})
        for seed in (0, 1)
    )
    assert float(jnp.abs(first - second).max()) > 1e-3
    silent = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf * ("lora_b" not in str(path[-1])), params
    )
    dropped = Pair(lora).apply({"params": silent}, x, True, rngs={"dropout": jax.random.key(0)})
    np.testing.assert_array_equal(dropped, Pair(lora).apply({"params": silent}, x))


def test_computes_in_the_type_it_is_told(x):
    layer = Dense(4, lora=LORA, dtype=jnp.bfloat16)
    out, variables = layer.init_with_output(jax.random.key(0), x)
    assert out.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype("float32")}
