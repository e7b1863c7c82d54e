"""Builds the API reference and the guides, see README.md.

With `-W -n` a public thing without docstring fails the build, and so does a name in backticks that
looks like one of ours and is none.
"""

import functools
import pathlib
import re
import sys

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

import rrsis_jax
from rrsis_jax.configs import default
from rrsis_jax.models import registry

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ("rrsis_jax", *sorted(path.name for path in ROOT.glob("tfds_*")))
FILE_ENDINGS = ("csv", "html", "j2", "json", "md", "png", "py", "safetensors", "tsv", "txt")

project = "rrsis_jax"
release = rrsis_jax.__version__
html_theme = "furo"
extensions = [
    "myst_parser",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
root_doc = "docs/index"
include_patterns = [
    "*.md",
    "docs/**",
    "colab/*.md",
    "benchmarks/*.md",
    "tfds_*/*.md",
    "rrsis_jax/models/*/README.md",
]
exclude_patterns = [".*", "build", "dist", "docs/_build", "runs"]
default_role = "py:obj"  # names in backticks are looked up; what is found becomes a link
myst_heading_anchors = 3
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # the attributes that a docstring lists are the class's own fields
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": True, "ignore-module-all": True}
apidoc_modules = [
    {
        "path": str(ROOT / package),
        "destination": f"docs/_api/{package}",
        "separate_modules": True,
        "module_first": True,
        "exclude_patterns": ["**/configs", "**/__main__.py"],
    }
    for package in PACKAGES
]

_log = logging.getLogger(__name__)
_MODULES = {
    path.stem for package in PACKAGES for path in (ROOT / package).rglob("*.py")
}  # the last part of their names


def setup(app: Sphinx) -> None:
    """Connects what is below."""
    app.connect("autodoc-process-docstring", check_docstring)
    app.connect("autodoc-process-docstring", mark_code, priority=400)  # before napoleon
    app.connect("missing-reference", resolve)


def check_docstring(app, what: str, name: str, thing, options, lines: list[str]) -> None:
    """Warns about a public thing without docstring; fields are described by their class."""
    ours = getattr(thing, "__module__", name).startswith(PACKAGES)
    checked = what in ("module", "class", "exception", "function", "method", "property")
    if ours and checked and not any(line.strip() for line in lines):
        _log.warning("%s has no docstring", name)


def mark_code(app, what: str, name: str, thing, options, lines: list[str]) -> None:
    """Makes code of what a module's docstring indents or fences, as Markdown would."""
    if what != "module":
        return
    marked, code = [], False
    for line in lines:
        fence = line.startswith("```")
        begins = fence or (line.startswith("  ") and not (marked and marked[-1].strip()))
        if begins and not code:
            marked += ["", ".. code-block:: text", ""]
        if fence:
            code = not code
        else:
            marked.append(f"   {line}" if code else line)
    lines[:] = marked


def resolve(app: Sphinx, env: BuildEnvironment, node, contnode: nodes.Node) -> nodes.Node | None:
    """Finds a name that is not written out in full; lets pass what is none of ours."""
    target = node["reftarget"]
    domain = env.domains.python_domain
    ends = [name for name in domain.objects if name.endswith(f".{target}")]
    if ends:
        full = min(ends, key=len)
        return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", full, node, contnode)
    return None if _looks_like_ours(target) and not _exists(target) else contnode


def _looks_like_ours(target: str) -> bool:
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", target):
        return False
    first, *_, last = target.split(".")
    if last in FILE_ENDINGS or target in _config_keys() or target.startswith("config."):
        return False
    return first in PACKAGES or first in _MODULES


def _exists(target: str) -> bool:
    """Tells whether a module of ours has this name: constants and aliases have no entry."""
    module, _, name = target.rpartition(".")
    return any(
        known.split(".")[0] in PACKAGES and f".{known}".endswith(f".{module}") and hasattr(it, name)
        for known, it in list(sys.modules.items())
    )


@functools.cache
def _config_keys() -> set[str]:
    flat, pending = set(), [("", default.get_config(name)) for name in registry.names()]
    while pending:
        prefix, config = pending.pop()
        for key, value in config.items():
            flat.add(f"{prefix}{key}")
            if hasattr(value, "items"):
                pending.append((f"{prefix}{key}.", value))
    return flat
