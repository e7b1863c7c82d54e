"""Types of all that a traced program computes."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np


def inner_programs(equation: jax.extend.core.JaxprEqn) -> Iterator[jax.extend.core.Jaxpr]:
    """Yields the programs that an operation runs, such as the body of a loop."""
    for inner in jax.tree.leaves(
        list(equation.params.values()), is_leaf=lambda x: isinstance(x, jax.extend.core.Jaxpr)
    ):
        inner = getattr(inner, "jaxpr", inner)
        if hasattr(inner, "eqns"):
            yield inner


def types_within(jaxpr: jax.extend.core.Jaxpr) -> Iterator[np.dtype]:
    """Yields the types of all arrays that a program computes, inner programs included."""
    for equation in jaxpr.eqns:
        yield from (var.aval.dtype for var in equation.outvars if hasattr(var.aval, "dtype"))
        for inner in inner_programs(equation):
            yield from types_within(inner)


def types_of(jaxpr: jax.extend.core.Jaxpr, *names: str) -> set[np.dtype]:
    """Returns the types of what operations of these names read, inner programs included."""
    types = set()
    for equation in jaxpr.eqns:
        if equation.primitive.name in names:
            types |= {var.aval.dtype for var in equation.invars}
        for inner in inner_programs(equation):
            types |= types_of(inner, *names)
    return types


def assert_all_float64(jaxpr: jax.extend.core.Jaxpr) -> None:
    """Real numbers are computed in float64, none in less."""
    types = set(types_within(jaxpr))
    assert np.dtype("float64") in types
    assert not types & {np.dtype(name) for name in ("float32", "float16", "bfloat16")}


def primitives(jaxpr: jax.extend.core.Jaxpr) -> list[str]:
    """Returns the names of all operations of a program, inner programs included."""
    names = []
    for equation in jaxpr.eqns:
        names.append(equation.primitive.name)
        for inner in inner_programs(equation):
            names += primitives(inner)
    return names


CALLS = (
    "checkpoint",
    "remat",
    "remat2",
    "jit",
    "pjit",
    "closed_call",
)  # run another program as it is


def inlined(jaxpr: jax.extend.core.Jaxpr) -> str:
    """Returns a program in words, with the programs that it calls in place of their calls."""
    closed = jax.extend.core.ClosedJaxpr(jaxpr, ())
    shapes = [jax.ShapeDtypeStruct(var.aval.shape, var.aval.dtype) for var in jaxpr.invars]
    return str(jax.make_jaxpr(lambda *values: _run(closed, values))(*shapes))


def _run(closed: jax.extend.core.ClosedJaxpr, values: Sequence[Any]) -> list[Any]:
    """Evaluates a program operation by operation, going into calls."""
    known = dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    known |= dict(zip(closed.jaxpr.invars, values, strict=True))

    def read(var: Any) -> Any:
        return var.val if isinstance(var, jax.extend.core.Literal) else known[var]

    for equation in closed.jaxpr.eqns:
        arguments = [read(var) for var in equation.invars]
        if equation.primitive.name in CALLS:
            (inner,) = inner_programs(equation)
            consts = getattr(equation.params["jaxpr"], "consts", ())
            results = _run(jax.extend.core.ClosedJaxpr(inner, consts), arguments)
        else:
            subfuns, params = equation.primitive.get_bind_params(equation.params)
            results = equation.primitive.bind(*subfuns, *arguments, **params)
            results = results if equation.primitive.multiple_results else [results]
        known |= dict(zip(equation.outvars, results, strict=True))
    return [read(var) for var in closed.jaxpr.outvars]
