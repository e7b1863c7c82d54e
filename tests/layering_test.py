"""A module imports only modules of a strictly lower rank, and each third party has one room."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parents[1]

RANKS = {
    "rrsis_jax": 0,
    "rrsis_jax.constants": 0,
    "rrsis_jax.types": 0,
    "rrsis_jax.data": 0,
    "rrsis_jax.models": 0,
    "rrsis_jax.pretrained": 0,
    "rrsis_jax.losses": 1,
    "rrsis_jax.metrics": 1,
    "rrsis_jax.optim": 1,
    "rrsis_jax.parallel": 1,
    "rrsis_jax.run_config": 1,
    "rrsis_jax.visualize": 1,
    "rrsis_jax.bootstrap": 1,
    "rrsis_jax.native": 1,
    "rrsis_jax.charts": 1,
    "rrsis_jax.command": 0,
    "rrsis_jax.configs": 0,
    "rrsis_jax.config_files": 1,
    "rrsis_jax.parsers": 1,
    "rrsis_jax.train_command": 9,
    "rrsis_jax.console": 10,
    "rrsis_jax.config_rules": 0,
    "rrsis_jax.documents": 0,
    "rrsis_jax.hosts": 1,
    "rrsis_jax.outputs": 0,
    "rrsis_jax.messages": 0,
    "rrsis_jax.array_trees": 1,
    "rrsis_jax.variable_folder": 2,
    "rrsis_jax.compilation": 1,
    "rrsis_jax.preemption": 1,
    "rrsis_jax.session": 2,
    "rrsis_jax.gallery": 2,
    "rrsis_jax.sample_table": 2,
    "rrsis_jax.data.descriptions": 4,
    "rrsis_jax.breakdowns": 5,
    "rrsis_jax.page": 6,
    "rrsis_jax.report": 8,
    "rrsis_jax.tiling": 1,
    "rrsis_jax.journal": 1,
    "rrsis_jax.pictures": 1,
    "rrsis_jax.grids": 1,
    "rrsis_jax.stretching": 1,
    "rrsis_jax.raster": 2,
    "rrsis_jax.maps": 3,
    "rrsis_jax.polygons": 4,
    "rrsis_jax.tile_model": 5,
    "rrsis_jax.export": 6,
    "rrsis_jax.predictor": 7,
    "rrsis_jax.scene": 8,
    "rrsis_jax.predict": 9,
    "rrsis_jax.pretrained.rules": 2,
    "rrsis_jax.pretrained.bert": 5,
    "rrsis_jax.pretrained.lgce": 5,
    "rrsis_jax.pretrained.swin": 5,
    "rrsis_jax.pretrained.__main__": 6,
    "rrsis_jax.compare": 8,
    "rrsis_jax.data.geometry": 0,
    "rrsis_jax.data.directions": 1,
    "rrsis_jax.data.augmentation": 2,
    "rrsis_jax.data.views": 2,
    "rrsis_jax.data.absent_phrases": 4,
    "rrsis_jax.test_time": 1,
    "rrsis_jax.data.tokenizer": 1,
    "rrsis_jax.data.transforms": 1,
    "rrsis_jax.models.layers": 1,
    "rrsis_jax.pretrained.files": 1,
    "rrsis_jax.pretrained.mapping": 1,
    "rrsis_jax.checkpoints": 2,
    "rrsis_jax.progress": 2,
    "rrsis_jax.train_state": 2,
    "rrsis_jax.data.input_pipeline": 3,
    "rrsis_jax.models.fusion": 2,
    "rrsis_jax.models.swin": 2,
    "rrsis_jax.models.text": 2,
    "rrsis_jax.data.language_check": 4,
    "rrsis_jax.models.backbone": 3,
    "rrsis_jax.models.decoders": 3,
    "rrsis_jax.steps": 3,
    "rrsis_jax.data.splits": 5,
    "rrsis_jax.models.segmenter": 4,
    "rrsis_jax.step_factory": 4,
    "rrsis_jax.evaluate": 6,
    "rrsis_jax.initialization": 6,
    "rrsis_jax.results": 7,
    "rrsis_jax.train": 8,
}

# Which modules may import a third party; a name stands for everything below it.
ROOMS = {
    "tensorflow": {"tfds_refsegrs", "rrsis_jax.session"},
    "tensorflow_datasets": {"rrsis_jax.data", "tfds_refsegrs"},
    "tfds_refsegrs": {"rrsis_jax.data"},
    "grain": {"rrsis_jax.data.input_pipeline"},
    "orbax": {"rrsis_jax.checkpoints"},
    "clu": {"rrsis_jax.train"},
    "transformers": {"rrsis_jax.models.text", "rrsis_jax.data.tokenizer", "rrsis_jax.pretrained"},
    "tokenizers": {"rrsis_jax.data.tokenizer"},
    "torch": {"rrsis_jax.pretrained"},
    "rasterio": {"rrsis_jax.grids", "rrsis_jax.raster", "rrsis_jax.maps"},
    "geopandas": {"rrsis_jax.polygons"},
    "jinja2": {"rrsis_jax.page"},
    "rrsis_jax": {"rrsis_jax", "main"},
}

PMAP_NAMES = {"pmap", "psum", "pmean", "all_gather", "axis_index"}
PMAP_ROOM = {"rrsis_jax.parallel", "rrsis_jax.models.layers"}


def modules() -> dict[str, pathlib.Path]:
    found = {"main": ROOT / "main.py"}
    for package in ("rrsis_jax", "tfds_refsegrs"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports(path: pathlib.Path) -> set[str]:
    """Returns the dotted names that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own_module(name: str, known: dict[str, pathlib.Path]) -> str | None:
    """Returns the module of ours that an imported name is, or is defined in."""
    while name:
        if name in known:
            return name
        name = name.rpartition(".")[0]
    return None


def within(module: str, rooms: set[str]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def test_every_module_has_a_rank():
    own = {name for name in modules() if name.startswith("rrsis_jax")}
    assert own - RANKS.keys() == set()
    assert RANKS.keys() - own == set()


def test_imports_go_down():
    known = modules()
    upward = []
    for name in RANKS:
        for imported in imports(known[name]):
            target = own_module(imported, known)
            if target in RANKS and target != "rrsis_jax" and RANKS[target] >= RANKS[name]:
                upward.append(f"{name} (rank {RANKS[name]}) imports {target} ({RANKS[target]})")
    assert upward == []


def test_each_third_party_has_one_room():
    strays = [
        f"{name} imports {imported}"
        for name, path in modules().items()
        for imported in imports(path)
        for party, rooms in ROOMS.items()
        if within(imported, {party}) and not within(name, {party} | rooms)
    ]
    assert strays == []


def test_collectives_stay_in_their_room():
    strays = [
        f"{name} uses {node.attr}"
        for name, path in modules().items()
        if not within(name, PMAP_ROOM)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr in PMAP_NAMES
        and isinstance(node.value, ast.Attribute | ast.Name)
        and ast.unparse(node.value) in {"jax", "jax.lax", "lax"}
    ]
    assert strays == []


def test_main_is_short():
    assert len((ROOT / "main.py").read_text().splitlines()) <= 90
