"""The rooms of the project in their order: a room imports itself and rooms above it, none below."""

import ast
import functools
import graphlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# From bottom to top. `tfds_*` is every dataset; `rrsis_jax` the leaves at the package's root.
ROOMS = (
    "tfds_referring",
    "tfds_*",
    "rrsis_jax",
    "terminal",
    "visualization",
    "distributed",
    "weights",
    "geospatial",
    "data",
    "models",
    "configs",
    "configuration",
    "evaluation",
    "training",
    "prediction",
    "reporting",
    "cli",
    "main",
)

# The same inside `models`. A folder that is not named here is a paper: it imports no other paper
# but `lavt`, whose family the others are.
MODELS = ("layers", "losses", "contract", "backbones", "lavt", "<paper>", "registry", "published")

# Pairs of rooms of which one imports the other. Another one needs a reason. (The last: tokenizers
# come from the hub by the client that weights come by.)
ARROWS = 59

# Third parties and where they may be imported; a place stands for everything below it.
PARTIES = {
    "tensorflow": {"rrsis_jax.distributed.startup", "tfds_*"},
    "tensorflow_datasets": {"rrsis_jax.data", "tfds_referring", "tfds_*"},
    "tfds_*": {"rrsis_jax.data.no_target"},  # else by name, see `tfds_referring.packages`
    "tfds_referring": {"rrsis_jax.data", "tfds_*"},
    "pycocotools": {"tfds_referring.polygons"},
    "scipy": {"tfds_referring.specks"},
    "grain": {"rrsis_jax.data.input_pipeline"},
    "transformers": {"rrsis_jax.models.backbones.bert", "rrsis_jax.data.tokenizers"},
    "tokenizers": {"rrsis_jax.data.tokenizers"},
    "safetensors": {"rrsis_jax.weights"},
    "huggingface_hub": {"rrsis_jax.weights.hub"},
    "torch": {"rrsis_jax.weights.state_dicts"},
    "orbax": {"rrsis_jax.weights.checkpoints"},
    "clu": {
        "rrsis_jax.training.train",
        "rrsis_jax.training.header",
        "rrsis_jax.training.metric_writer",
    },
    "optax": {"rrsis_jax.training"},
    "matplotlib": {
        "rrsis_jax.visualization",
        "rrsis_jax.reporting.charts",
        "tfds_referring.audit_report",
    },
    "rich": {"rrsis_jax.terminal.live"},
    "tqdm": {
        "rrsis_jax.terminal",
        "rrsis_jax.data",
        "rrsis_jax.evaluation",
        "rrsis_jax.prediction",
        "tfds_referring",
    },
    "jinja2": {"rrsis_jax.reporting.html_page"},
    "rasterio": {"rrsis_jax.geospatial"},
    "geopandas": {"rrsis_jax.geospatial.polygons"},
    "shapely": {"rrsis_jax.geospatial.polygons"},
    "PIL": {
        "rrsis_jax.data",
        "rrsis_jax.visualization",
        "rrsis_jax.evaluation.mask_files",
        "rrsis_jax.prediction",
        "rrsis_jax.reporting",
        "tfds_referring",
        "tfds_*",
    },
    # Old checkpoints hold an `argparse.Namespace`, which their reader lets pass.
    "argparse": {"rrsis_jax.cli", "rrsis_jax.weights.state_dicts", "tfds_referring.__main__"},
    "absl.flags": {"rrsis_jax.cli.train"},
    "rrsis_jax": {"rrsis_jax", "configs", "main"},
}

# Files that a command line reads before it answers, and what would make it wait.
LIGHT = ("rrsis_jax", "rrsis_jax.validators", "rrsis_jax.cli.*", "rrsis_jax.configuration.files")
SLOW = {"jax", "tensorflow", "orbax", "transformers", "torch", "rasterio", "matplotlib"}

PMAP_NAMES = {"pmap", "shard_map", "psum", "pmean", "all_gather", "axis_index"}
PMAP_FILES = {
    "rrsis_jax.distributed.parallel",
    "rrsis_jax.distributed.shard_map",
    "rrsis_jax.models.layers.normalization",
}


@functools.cache
def modules() -> dict[str, pathlib.Path]:
    """All modules of the project by their dotted names; `configs` as they are imported."""
    paths = [ROOT / "main.py", *(ROOT / "configs").glob("*.py")]
    for package in [*sorted(ROOT.glob("tfds_*")), ROOT / "rrsis_jax"]:
        paths += package.rglob("*.py")
    names = {}
    for path in sorted(paths):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        names[f"rrsis_jax.{name}" if name.startswith("configs.") else name] = path
    return {name: path for name, path in names.items() if name != "configs"}


@functools.cache
def tree(name: str) -> ast.Module:
    return ast.parse(modules()[name].read_text())


def own_module(name: str) -> str | None:
    """Returns the module of ours that an imported name is, or is defined in."""
    while name and name not in modules():
        name = name.rpartition(".")[0]
    return name or None


@functools.cache
def imports(name: str, at_once: bool = False) -> frozenset[str]:
    """Returns the dotted names that a module imports; `at_once`: while it is itself imported."""
    found, pending = set(), list(tree(name).body)
    while pending:
        node = pending.pop()
        if at_once and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        pending += ast.iter_child_nodes(node)
    return frozenset(found)


def neighbours(name: str) -> set[str]:
    """Returns the modules of ours that a module imports, but for the packages it lies in."""
    targets = {own_module(imported) for imported in imports(name)} - {None, name}
    return {target for target in targets if not name.startswith(f"{target}.")}


def room(name: str) -> str:
    """Returns the room of a module; datasets stay apart, as they do not import each other."""
    top, *rest = name.split(".")
    if top != "rrsis_jax" or not rest:
        return top
    package = modules()[name].name == "__init__.py"
    return rest[0] if package or len(rest) > 1 else "rrsis_jax"


def place(name: str) -> int:
    """Returns the place of a module's room in ROOMS."""
    here = room(name)
    dataset = here.startswith("tfds_") and here != "tfds_referring"
    return ROOMS.index("tfds_*" if dataset else here)


def model_part(name: str) -> str | None:
    """Returns the part of `models` that a module is of, like `layers` or `lgce`."""
    parts = name.split(".")
    return parts[2] if parts[:2] == ["rrsis_jax", "models"] and len(parts) > 2 else None


def within(name: str, places: set[str]) -> bool:
    """Tells whether a dotted name is one of `places` or lies below one."""
    top = name.partition(".")[0]
    if "tfds_*" in places and top.startswith("tfds_") and top != "tfds_referring":
        return True
    return any(name == each or name.startswith(f"{each}.") for each in places)


def test_every_module_lies_in_a_room():
    assert [name for name in modules() if room(name) not in ROOMS and "tfds_" not in name] == []


def test_imports_go_up_the_list():
    def rank(part: str) -> int:
        return MODELS.index(part if part in MODELS else "<paper>")

    def is_against_the_order(name: str, target: str) -> bool:
        if room(target) != room(name):
            return place(target) >= place(name)
        here, there = model_part(name), model_part(target)
        return None not in (here, there) and here != there and rank(there) >= rank(here)

    against = {
        f"{name} imports {target}"
        for name in modules()
        for target in neighbours(name)
        if is_against_the_order(name, target)
    }
    assert against == set()


@pytest.mark.parametrize("name", sorted({room(name) for name in modules()}))
def test_no_circle_inside_a_room(name):
    inside = {module for module in modules() if room(module) == name}
    sorter = graphlib.TopologicalSorter({m: neighbours(m) & inside for m in inside})
    sorter.prepare()  # raises CycleError, which names the circle


def test_the_number_of_arrows_between_rooms_does_not_grow():
    def named(module: str) -> str:
        return ROOMS[place(module)]

    arrows = {(named(m), named(target)) for m in modules() for target in neighbours(m)}
    assert len({(a, b) for a, b in arrows if a != b}) == ARROWS


def test_each_third_party_has_its_places():
    strays = [
        f"{name} imports {imported}"
        for name in modules()
        for imported in imports(name)
        for party, places in PARTIES.items()
        if within(imported, {party}) and not within(name, {party} | places)
    ]
    assert strays == []


def test_a_command_line_waits_for_nothing_slow():
    def closure(name: str, seen: set[str]) -> set[str]:
        """Returns the third parties that come with a module of ours."""
        if name in seen:
            return set()
        seen.add(name)
        parties = set()
        for imported in imports(name, at_once=True):
            own = own_module(imported)
            parties |= closure(own, seen) if own else {imported.partition(".")[0]}
        return parties

    light = [
        name
        for name in modules()
        for pattern in LIGHT
        if name == pattern or (pattern.endswith(".*") and name.startswith(pattern[:-1]))
    ]
    assert {name: slow for name in light if (slow := closure(name, set()) & SLOW)} == {}


def test_collectives_stay_in_their_files():
    strays = [
        f"{name} uses {node.attr}"
        for name in modules()
        if name not in PMAP_FILES
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Attribute)
        and node.attr in PMAP_NAMES
        and ast.unparse(node.value) in {"jax", "jax.lax", "lax"}
    ]
    assert strays == []


def test_main_is_short():
    assert len((ROOT / "main.py").read_text().splitlines()) <= 90
