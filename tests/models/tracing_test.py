"""Shapes of variables, traced once for each network."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.errors import ScopeParamShapeError

from rrsis_jax.models.layers import tracing

CALLS = []


class Layers(nn.Module):
    """Linear layers; notes each trace."""

    widths: Sequence[int]

    @nn.compact
    def __call__(self, x):
        CALLS.append(self.widths)
        for width in self.widths:
            x = nn.Dense(width, param_dtype=float)(x)
        return x


INPUT = jax.ShapeDtypeStruct((1, 3), jnp.float32)


@pytest.fixture(autouse=True)
def forgotten():
    tracing._traced.cache_clear()
    CALLS.clear()


def test_equal_networks_are_traced_once_and_every_caller_has_dictionaries_of_its_own():
    first, second = (tracing.variable_shapes(Layers((4, 2)), INPUT) for _ in range(2))
    assert CALLS == [(4, 2)]
    assert first["params"]["Dense_1"]["kernel"].shape == (4, 2)
    del first["params"]["Dense_1"]
    assert second == tracing.variable_shapes(Layers((4, 2)), INPUT)
    assert tracing.variable_shapes(Layers((5,)), INPUT)["params"].keys() == {"Dense_0"}


def test_types_are_those_that_jax_computes_with_at_present():
    def types():
        shapes = tracing.variable_shapes(Layers((2,)), INPUT)
        return {leaf.dtype for leaf in jax.tree.leaves(shapes)}

    assert types() == {np.dtype("float32")}
    with jax.enable_x64(True):
        assert types() == {np.dtype("float64")}
    assert types() == {np.dtype("float32")}
    assert len(CALLS) == 2


def test_a_network_with_a_list_for_a_field_is_traced_each_time():
    for _ in range(2):
        shapes = tracing.variable_shapes(Layers([4]), INPUT)
        assert shapes["params"]["Dense_0"]["bias"].shape == (4,)
    assert len(CALLS) == 2


def test_a_parameter_of_another_shape_is_refused_under_the_tests_own_reading():
    layers, x = Layers((4,)), jnp.ones((1, 3))
    variables = jax.tree.map(jnp.asarray, layers.init(jax.random.key(0), x))
    variables["params"]["Dense_0"]["kernel"] = jnp.ones((3, 5))
    with pytest.raises(ScopeParamShapeError, match=r"\(3, 5\).*\(3, 4\)|\(3, 4\).*\(3, 5\)"):
        layers.apply(variables, x)
