"""Types of all that a traced program computes."""

from collections.abc import Iterator

import jax
import numpy as np

RECOMPUTED = "remat2"  # what `jax.checkpoint` leaves in a program


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


def operations(jaxpr: jax.extend.core.Jaxpr) -> list[str]:
    """Returns the operations of a program in order, with what they yield; calls are gone into."""
    lines = []
    for equation in jaxpr.eqns:
        inner = [line for program in inner_programs(equation) for line in operations(program)]
        if equation.primitive.name not in ("jit", RECOMPUTED):
            lines.append(f"{equation.primitive.name} {[str(var.aval) for var in equation.outvars]}")
        lines += inner
    return lines
