"""The engine that carries weights between a foreign state dict and our variables.

Rules are data: a foreign name, our path, a transform that works both ways. The engine is strict on
both sides: every foreign name is used or skipped by a rule, every path of ours is filled, every
shape fits. Otherwise one error lists all differences, and nothing is loaded.

    rules = linear("head", "params/head")
    flat, report = import_weights(state_dict, rules, [], expected)
    state_dict = export_weights(flat, rules, expected)
"""

import dataclasses
import difflib
import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

# Candidates compared letter by letter for "nearest name"; full lists can be 700 × 700 names long.
MAX_NAMES_WITH_SUGGESTION = 40


class MappingError(ValueError):
    """Weights and model do not fit; the message lists every difference."""


@dataclasses.dataclass(frozen=True)
class Transform:
    """How one array changes its layout between the two sides.

    Attributes:
      to_ours: from the foreign layout; gets the array and our shape.
      to_theirs: the exact inverse.
    """

    to_ours: Callable[[np.ndarray], np.ndarray]
    to_theirs: Callable[[np.ndarray], np.ndarray]


IDENTITY = Transform(lambda x: x, lambda x: x)
# (out, in) <-> (in, out)
LINEAR = Transform(lambda x: x.T, lambda x: x.T)
# A 1-D convolution of width one is a linear layer: (out, in, 1) <-> (in, out)
POINTWISE = Transform(lambda x: x[:, :, 0].T, lambda x: x.T[:, :, None])
# (out, in, rows, columns) <-> (rows, columns, in, out)
CONV = Transform(lambda x: x.transpose(2, 3, 1, 0), lambda x: x.transpose(3, 2, 0, 1))

# Brings a foreign array to the foreign shape that the model needs; returns it with a note for the
# report, or None where it cannot.
Resize = Callable[[np.ndarray, tuple[int, ...]], tuple[np.ndarray, str] | None]

# One beginning of names, or several that belong together.
Beginnings = str | tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Rule:
    """One line of a mapping. `{i}` in both templates stands for the same number.

    Attributes:
      source: template of the foreign name, as "layers.{i}.norm.weight".
      target: template of our path, as "params/layers_{i}/norm/scale".
      transform: change of layout.
      resize: what to do where the sizes differ; None for an error.
    """

    source: str
    target: str
    transform: Transform = IDENTITY
    resize: Resize | None = None


@dataclasses.dataclass(frozen=True)
class Skip:
    """Foreign names that the model has no use for.

    Attributes:
      pattern: regular expression of the whole name.
      reason: why they are not needed, for the report.
    """

    pattern: str
    reason: str


@dataclasses.dataclass(frozen=True)
class WeightTable:
    """How the published weights of a network and our variables belong together.

    Attributes:
      rules: the mapping.
      skips: foreign names that may be present and are not used.
      optional: foreign prefix, or prefixes, → those of our paths, of parts that may be absent as a
        whole.
      fresh: prefixes of our paths that the published network lacks.
      inert: makes what the published state dict holds and its forward pass never calls: foreign
        name → float32 array.
      buffers: makes the index buffers that its strict loading asks for: foreign name → array.
      prepare: brings foreign names to those of `rules`, where parts are published apart.
      restore: undoes `prepare`.
      text_apart: whether its .pth files keep the text encoder in a section of its own.
      prefix: what some checkpoints have before all foreign names; read with and without it.
      section: of a PyTorch checkpoint in which its code looks for weights.
    """

    rules: Sequence[Rule]
    skips: Sequence[Skip] = ()
    optional: Mapping[Beginnings, Beginnings] = dataclasses.field(default_factory=dict)
    fresh: tuple[str, ...] = ()
    inert: Callable[[], dict[str, np.ndarray]] = dict
    buffers: Callable[[], dict[str, np.ndarray]] = dict
    prepare: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]] = dict
    restore: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]] = dict
    text_apart: bool = True
    prefix: str = ""
    section: str = "model"

    def absent(self, paths: Iterable[str]) -> list[Beginnings]:
        """Returns the beginnings of our paths of each optional part of which none is there."""
        present = list(paths)
        return [
            ours
            for ours in self.optional.values()
            if not any(path.startswith(ours) for path in present)
        ]


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a report: a foreign name, where it went, and what was done to it."""

    source: str
    target: str
    note: str = ""


@dataclasses.dataclass
class Report:
    """What went where. `str()` prints it as a table."""

    rows: list[Row] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        table = [("source", "target", "note"), *map(dataclasses.astuple, self.rows)]
        widths = [max(len(line[column]) for line in table) for column in range(3)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in table
        ]
        return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def joined(parts: Iterable[Beginnings]) -> tuple[str, ...]:
    """Returns the beginnings of all parts as one tuple, such as `str.startswith` takes."""
    tuples = [part if isinstance(part, tuple) else (part,) for part in parts]
    return tuple(beginning for part in tuples for beginning in part)


def linear(
    source: str, target: str, bias: bool = True, transform: Transform = LINEAR
) -> list[Rule]:
    """Returns the rules of a linear layer, or of a convolution with `transform`."""
    rules = [Rule(f"{source}.weight", f"{target}/kernel", transform)]
    return [*rules, Rule(f"{source}.bias", f"{target}/bias")] if bias else rules


def norm(source: str, target: str) -> list[Rule]:
    """Returns the rules of a normalisation layer's scale and bias."""
    return [
        Rule(f"{source}.weight", f"{target}/scale"),
        Rule(f"{source}.bias", f"{target}/bias"),
    ]


def import_weights(
    state_dict: Mapping[str, np.ndarray],
    rules: Sequence[Rule],
    skips: Sequence[Skip],
    expected: Mapping[str, jax.ShapeDtypeStruct],
) -> tuple[dict[str, np.ndarray], Report]:
    """Carries a foreign state dict into our layout.

    Args:
      state_dict: foreign name → array.
      rules: the mapping.
      skips: foreign names that may be present and are not used.
      expected: our path → shape and type, all of which must be filled.

    Returns:
      Our path → C-contiguous array of the expected type, sharing no memory with `state_dict`; and
      the report.

    Raises:
      MappingError: if names are unknown or missing, or shapes or types do not fit.
    """
    wanted = {_name_of(path, rules): path for path in expected}
    wanted_rules = {name: _rule_for(path, rules) for name, path in wanted.items()}
    flat, report, unknown, unfit = {}, Report(), [], []
    for name, value in state_dict.items():
        if name not in wanted:
            reason = _reason_to_skip(name, skips)
            if reason is None:
                unknown.append(name)
            else:
                report.rows.append(Row(name, "-", f"skipped: {reason}"))
            continue
        path, rule = wanted[name], wanted_rules[name]
        fitted = _fit(np.asarray(value), rule, expected[path])
        if isinstance(fitted, str):
            unfit.append(f"{name}: {fitted}")
            continue
        flat[path], note = fitted
        report.rows.append(Row(name, path, note))
    missing = [name for name in wanted if name not in state_dict]
    _raise_differences("the weights do not fit the model", unknown, missing, unfit)
    return flat, report


def export_weights(
    flat: Mapping[str, np.ndarray],
    rules: Sequence[Rule],
    expected: Mapping[str, jax.ShapeDtypeStruct],
) -> dict[str, np.ndarray]:
    """Carries our variables into the foreign layout.

    Args:
      flat: our path → array.
      rules: the mapping.
      expected: our path → shape and type, all of which must be present.

    Returns:
      Foreign name → C-contiguous array of the type of `flat`, sharing no memory with it.

    Raises:
      MappingError: if paths are unknown or missing, or shapes do not fit.
    """
    unknown = [path for path in flat if path not in expected]
    missing = [path for path in expected if path not in flat]
    unfit = [
        f"{path}: came {tuple(np.shape(flat[path]))}, expected {tuple(spec.shape)}"
        for path, spec in expected.items()
        if path in flat and np.shape(flat[path]) != tuple(spec.shape)
    ]
    _raise_differences("the variables do not fit the model", unknown, missing, unfit)
    return {
        _name_of(path, rules): _own(_rule_for(path, rules).transform.to_theirs(np.asarray(value)))
        for path, value in flat.items()
    }


def strip_prefix(state_dict: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Returns `state_dict` without a leading `prefix` on its names.

    Raises:
      MappingError: if a name is present both with and without the prefix.
    """
    stripped, double = {}, []
    for name, value in state_dict.items():
        bare = name.removeprefix(prefix)
        if bare in stripped:
            double.append(bare)
        stripped[bare] = value
    if double:
        raise MappingError(
            f"these names are present with and without the prefix {prefix!r}, so it is unclear "
            f"which to load; remove one of each: {', '.join(sorted(double))}"
        )
    return stripped


def _fit(
    value: np.ndarray,
    rule: Rule,
    spec: jax.ShapeDtypeStruct,
) -> tuple[np.ndarray, str] | str:
    """Returns the array in our layout with a note, or what is wrong with it."""
    # The inverse, applied to an array that occupies no memory, tells the foreign shape.
    shape = rule.transform.to_theirs(np.broadcast_to(np.float32(0), spec.shape)).shape
    if not jnp.issubdtype(value.dtype, jnp.floating):
        return f"came as {value.dtype}, expected a floating type"
    note = ""
    if value.shape != shape:
        resized = None if rule.resize is None else rule.resize(value, shape)
        if resized is None:
            return f"came {value.shape}, expected {shape}"
        value, note = resized
    if value.dtype != spec.dtype:
        note = ", ".join(filter(None, [note, f"{value.dtype} to {np.dtype(spec.dtype)}"]))
    with np.errstate(over="ignore"):  # what overflows is refused here
        ours = _own(rule.transform.to_ours(value).astype(spec.dtype, copy=False))
    odd = ours.size - int(np.count_nonzero(np.isfinite(ours)))
    return f"holds {odd} value(s) that are not finite" if odd else (ours, note)


def _own(value: np.ndarray) -> np.ndarray:
    """Returns a C-contiguous copy."""
    return np.array(value, order="C", copy=True)


@functools.cache
def _compile(template: str) -> re.Pattern:
    """Turns a template into a regular expression in which `{i}` matches a number."""
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\d+)", re.escape(template)))


def _rule_for(path: str, rules: Sequence[Rule]) -> Rule:
    """Returns the first rule whose target matches our path."""
    for rule in rules:
        if _compile(rule.target).fullmatch(path):
            return rule
    raise MappingError(f"no rule says where {path} comes from; add one to the mapping")


def _name_of(path: str, rules: Sequence[Rule]) -> str:
    """Returns the foreign name that fills our path."""
    rule = _rule_for(path, rules)
    return rule.source.format(**_compile(rule.target).fullmatch(path).groupdict())


def _reason_to_skip(name: str, skips: Sequence[Skip]) -> str | None:
    for skip in skips:
        if re.fullmatch(skip.pattern, name):
            return skip.reason
    return None


def _raise_differences(
    headline: str, unknown: Sequence[str], missing: Sequence[str], unfit: Sequence[str]
) -> None:
    """Raises one error for all differences, if there are any."""
    sections = [
        (
            f"unknown, {len(unknown)} (present, but the model has no place for them)",
            _with_nearest(unknown, missing),
        ),
        (f"missing, {len(missing)} (the model needs them)", _with_nearest(missing, unknown)),
        (f"misshapen, {len(unfit)}", unfit),
    ]
    if not (unknown or missing or unfit):
        return
    lines = [f"{headline}; nothing was loaded. Compare the configuration with the weights."]
    for title, entries in sections:
        if entries:
            lines += [f"{title}:", *(f"  {entry}" for entry in entries)]
    raise MappingError("\n".join(lines))


def _with_nearest(names: Sequence[str], candidates: Sequence[str]) -> list[str]:
    """Appends the nearest candidate to each name, as far as that takes no time."""
    described = []
    for position, name in enumerate(names):
        near = []
        if position < MAX_NAMES_WITH_SUGGESTION:
            near = difflib.get_close_matches(name, candidates, n=1)
        described.append(f"{name} (nearest: {near[0]})" if near else name)
    return described
