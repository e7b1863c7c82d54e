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
    "rrsis_jax.weights": 0,
    "rrsis_jax.models.losses": 1,
    "rrsis_jax.evaluation.metrics": 1,
    "rrsis_jax.training.optim": 1,
    "rrsis_jax.distributed.parallel": 1,
    "rrsis_jax.configuration.run_folder": 1,
    "rrsis_jax.visualization.figures": 1,
    "rrsis_jax.evaluation.bootstrap": 1,
    "rrsis_jax.evaluation.mask_files": 1,
    "rrsis_jax.reporting.charts": 1,
    "rrsis_jax.cli.command": 0,
    "rrsis_jax.configs": 0,
    "rrsis_jax.configuration.files": 1,
    "rrsis_jax.cli.parser": 1,
    "rrsis_jax.cli.train": 9,
    "rrsis_jax.console": 10,
    "rrsis_jax.configuration.schema": 0,
    "rrsis_jax.io": 0,
    "rrsis_jax.distributed.hosts": 1,
    "rrsis_jax.io": 0,
    "rrsis_jax.errors": 0,
    "rrsis_jax.weights.trees": 1,
    "rrsis_jax.weights.variable_folder": 2,
    "rrsis_jax.distributed.startup": 1,
    "rrsis_jax.distributed.preemption": 1,
    "rrsis_jax.distributed.startup": 2,
    "rrsis_jax.reporting.gallery": 2,
    "rrsis_jax.evaluation.sample_table": 2,
    "rrsis_jax.data.annotations": 4,
    "rrsis_jax.evaluation.breakdowns": 5,
    "rrsis_jax.reporting.html_page": 6,
    "rrsis_jax.reporting.report": 8,
    "rrsis_jax.prediction.tiling": 1,
    "rrsis_jax.prediction.job_journal": 1,
    "rrsis_jax.visualization.overlays": 1,
    "rrsis_jax.geospatial.georeference": 1,
    "rrsis_jax.geospatial.contrast_stretch": 1,
    "rrsis_jax.geospatial.scenes": 2,
    "rrsis_jax.geospatial.mask_rasters": 3,
    "rrsis_jax.geospatial.polygons": 4,
    "rrsis_jax.prediction.trained_model": 5,
    "rrsis_jax.prediction.bundle": 6,
    "rrsis_jax.prediction.predictor": 7,
    "rrsis_jax.prediction.scene_job": 8,
    "rrsis_jax.cli.predict": 9,
    "rrsis_jax.models.lavt.weights": 2,
    "rrsis_jax.models.backbones.bert.weights": 5,
    "rrsis_jax.models.lgce.weights": 5,
    "rrsis_jax.models.backbones.swin.weights": 5,
    "rrsis_jax.weights.conversion": 6,
    "rrsis_jax.reporting.comparison": 8,
    "rrsis_jax.data.datasets": 0,
    "rrsis_jax.data.geometry": 0,
    "rrsis_jax.data.mixtures": 0,
    "rrsis_jax.data.directions": 1,
    "rrsis_jax.data.augmentation": 2,
    "rrsis_jax.data.views": 2,
    "rrsis_jax.data.no_target": 4,
    "rrsis_jax.evaluation.test_time_augmentation": 1,
    "rrsis_jax.data.tokenizers.wordpiece": 1,
    "rrsis_jax.data.transforms": 1,
    "rrsis_jax.models.layers.convolution": 1,
    "rrsis_jax.weights.state_dicts": 1,
    "rrsis_jax.weights.mapping": 1,
    "rrsis_jax.weights.checkpoints": 2,
    "rrsis_jax.training.progress": 2,
    "rrsis_jax.training.train_state": 2,
    "rrsis_jax.data.input_pipeline": 3,
    "rrsis_jax.models.lavt.fusion": 2,
    "rrsis_jax.models.backbones.swin.network": 2,
    "rrsis_jax.models.backbones.bert.network": 2,
    "rrsis_jax.data.language_check": 4,
    "rrsis_jax.models.lavt.backbone": 3,
    "rrsis_jax.models.lgce.decoder": 3,
    "rrsis_jax.training.train_step": 3,
    "rrsis_jax.data.run_data": 5,
    "rrsis_jax.models.registry": 4,
    "rrsis_jax.training.train_step": 4,
    "rrsis_jax.evaluation.evaluator": 6,
    "rrsis_jax.training.initialization": 6,
    "rrsis_jax.evaluation.evaluate": 7,
    "rrsis_jax.training.train": 8,
}

DATASETS = sorted(path.parent.name for path in ROOT.glob("tfds_*/*_dataset_builder.py"))

# Which modules may import a third party; a name stands for everything below it.
ROOMS = {
    "tensorflow": {"tfds_refsegrs", "rrsis_jax.distributed.startup"},
    "tensorflow_datasets": {"rrsis_jax.data", "tfds_referring", *DATASETS},
    # Datasets never import each other; what they share is to move out of tfds_refsegrs.
    "tfds_refsegrs": {"rrsis_jax.data", "tfds_referring"},
    "tfds_referring": {"rrsis_jax.data", *DATASETS},
    **{name: set() for name in DATASETS if name != "tfds_refsegrs"},
    "pycocotools": {"tfds_referring.polygons"},
    "scipy": {"tfds_referring.specks"},
    "grain": {"rrsis_jax.data.input_pipeline", "rrsis_jax.data.mixtures"},
    "orbax": {"rrsis_jax.weights.checkpoints"},
    "clu": {"rrsis_jax.training.train"},
    "transformers": {
        "rrsis_jax.models.backbones.bert.network",
        "rrsis_jax.data.tokenizers.wordpiece",
        "rrsis_jax.weights",
    },
    "tokenizers": {"rrsis_jax.data.tokenizers.wordpiece"},
    "torch": {"rrsis_jax.weights"},
    "rasterio": {
        "rrsis_jax.geospatial.georeference",
        "rrsis_jax.geospatial.scenes",
        "rrsis_jax.geospatial.mask_rasters",
    },
    "geopandas": {"rrsis_jax.geospatial.polygons"},
    "jinja2": {"rrsis_jax.reporting.html_page"},
    "rrsis_jax": {"rrsis_jax", "main"},
}

PMAP_NAMES = {"pmap", "psum", "pmean", "all_gather", "axis_index"}
PMAP_ROOM = {"rrsis_jax.distributed.parallel", "rrsis_jax.models.layers.convolution"}


def modules() -> dict[str, pathlib.Path]:
    found = {"main": ROOT / "main.py"}
    for package in ("rrsis_jax", "tfds_referring", *DATASETS):
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
