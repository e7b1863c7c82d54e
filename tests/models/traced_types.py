"""Types of all that a traced program computes."""

from collections.abc import Iterator

import jax
import numpy as np


def types_within(jaxpr: jax.extend.core.Jaxpr) -> Iterator[np.dtype]:
    """Yields the types of all arrays that a program computes, inner programs included."""
    for equation in jaxpr.eqns:
        yield from (var.aval.dtype for var in equation.outvars if hasattr(var.aval, "dtype"))
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda x: isinstance(x, jax.extend.core.Jaxpr)
        ):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from types_within(inner)


def assert_all_float64(jaxpr: jax.extend.core.Jaxpr) -> None:
    """Real numbers are computed in float64, none in less."""
    types = set(types_within(jaxpr))
    assert np.dtype("float64") in types
    assert not types & {np.dtype(name) for name in ("float32", "float16", "bfloat16")}
