"""How many bytes a traced program holds at once, by the order in which it was traced."""

import math
from collections.abc import Iterator
from typing import Any

from jax.extend import core

# A compiler gives the result of these no memory of its own: the same bytes under another shape, or
# values that whoever reads them computes on the way.
_FREE = {"reshape", "squeeze", "expand_dims", "broadcast_in_dim", "iota", "copy", "stop_gradient"}


def peak_bytes(program: core.ClosedJaxpr) -> int:
    """Returns the most bytes that a program holds at once beside its arguments and results.

    Every value lives from the operation that makes it to the last one that reads it. Operations run
    in the order of the trace, and each writes its result to memory: a compiler that fuses or
    reorders needs less, one that pads or converts needs more.

    Args:
      program: of `jax.make_jaxpr`.
    """
    return _peak(program.jaxpr, count_results=False)


def _peak(program: Any, count_results: bool = True) -> int:
    last_reader, owner = {}, {}
    for place, equation in enumerate(program.eqns):
        operands = list(_variables(equation.invars))
        if equation.primitive.name in _FREE:
            made = equation.outvars[0]
            owner[made] = owner.get(operands[0], operands[0]) if operands else made
        last_reader |= {owner.get(x, x): place for x in operands}
    results = {owner.get(x, x) for x in _variables(program.outvars)}
    last_reader |= dict.fromkeys(results, len(program.eqns))
    live = peak = 0
    ends: dict[int, int] = {}  # place → bytes that are free after it
    for place, equation in enumerate(program.eqns):
        made = 0
        for x in equation.outvars:
            if x not in owner and (count_results or x not in results):
                made += _bytes(x)
                end = last_reader.get(x, place)
                ends[end] = ends.get(end, 0) + _bytes(x)
        inside = max((_peak(body) for body in _bodies(equation)), default=0)
        peak = max(peak, live + max(made, inside))
        live += made - ends.get(place, 0)
    return peak


def _variables(atoms: list) -> Iterator[core.Var]:
    return (x for x in atoms if not isinstance(x, core.Literal))


def _bodies(equation: core.JaxprEqn) -> Iterator[Any]:
    """Yields the programs inside an operation: of loops, branches, jitted and recomputed parts."""
    for value in equation.params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            if isinstance(each, core.ClosedJaxpr):
                yield each.jaxpr
            elif isinstance(each, core.Jaxpr):
                yield each


def _bytes(x: Any) -> int:
    kind = x.aval
    if not hasattr(kind, "shape"):
        return 0
    return math.prod(kind.shape) * getattr(kind.dtype, "itemsize", 0)
