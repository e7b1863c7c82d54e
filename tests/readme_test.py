"""Every command in the documentation is run on a small stand-in, or at least understood.

A command that no rule knows fails. The first two blocks of README.md are run as they stand by
`.ci/run`; what downloads gigabytes or trains for hours is parsed by the real parsers, and its
configuration is built.
"""

import ast
import importlib
import pathlib
import re
import runpy
import shutil
import sys

import pytest
import setuptools

from rrsis_jax.cli import compare, export, predict, prompts, report
from rrsis_jax.cli import train as train_command
from rrsis_jax.cli import weights as weights_command
from rrsis_jax.configuration import files
from rrsis_jax.data import datasets
from rrsis_jax.data.tokenizers import wordpiece
from rrsis_jax.evaluation import evaluate
from rrsis_jax.models import registry
from rrsis_jax.prediction import bundle, model_checks, trained_model
from rrsis_jax.training import train
from tests import shell_blocks
from tests.fake_runs import stand_in_model, write_run, write_scene
from tests.tfds_referring import made_trees
from tfds_referring import __main__ as dataset
from tfds_referring import packages
from tfds_refsegrs import Builder

# rasterio multiplies affine transforms by `*`, which affine ≥ 3 announces to deprecate.
# ml_collections loads configuration files in a way that Python 3.15 will remove.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Use `@` matmul instead of `[*]` mul:PendingDeprecationWarning",
    "ignore:the load_module:DeprecationWarning",
)

ROOT = pathlib.Path(__file__).parents[1]
FILES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "tfds_*/*.md", "benchmarks/*.md", "colab/*.md")
    for path in ROOT.glob(pattern)
)
RUN_AS_THEY_STAND = ("docs/architecture.md",)  # by `new_model_test.py`
BLOCKS = [block for path in FILES for block in shell_blocks.blocks(path, ROOT)]
COMMANDS = [
    command
    for block in BLOCKS
    if block.language in shell_blocks.SHELL and block.file not in RUN_AS_THEY_STAND
    for command in shell_blocks.commands(block)
] + [command for path in FILES for command in shell_blocks.inline_commands(path, ROOT)]

# -- Rules: each takes the words behind those that named it, and fails if they are wrong.


def pip_install(words):
    assert words[0] == "install"
    extras = dict(setup_arguments()["extras_require"])
    for word in words[1:]:
        named = re.fullmatch(r"(?:rrsis-jax|\.)\[([\w,-]+)\]", word)
        if named:
            assert set(named[1].split(",")) <= extras.keys()
        else:
            assert word in (".", "-e", "-q", "rrsis-jax", "--extra-index-url") or "://" in word


def train_or_evaluate(words):
    """The command line is parsed and its configuration built; the work itself is left out."""
    asked = []
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(ROOT)  # the paths of configurations are those of the checkout
        patched.setattr(train, "train", lambda config, workdir: asked.append(config))
        patched.setattr(evaluate, "evaluate_run", lambda config, *_: asked.append(config))
        patched.setattr("rrsis_jax.cli.preflight.training", lambda *_: None)
        patched.setattr("rrsis_jax.cli.preflight.evaluation", lambda *_: None)
        patched.setattr("rrsis_jax.distributed.hosts.join", lambda *_: None)
        patched.setattr("rrsis_jax.distributed.startup.start", lambda: None)
        train_command.main(words)
    (config,) = asked
    datasets.check_config(config)  # raises if there is none of that name


def run_tests(words):
    for word in words:
        assert word.startswith("-") or (ROOT / word.partition("::")[0]).exists()


def long_script(*shared):
    """The flags of a script are looked up in its source and `shared`; it would run for minutes."""

    def rule(words):
        module, *rest = words
        files = (f"{module.replace('.', '/')}.py", *shared)
        source = "".join((ROOT / file).read_text() for file in files)
        for flag in (word.partition("=")[0] for word in rest if word.startswith("--")):
            assert f'"{flag}"' in source

    return rule


def benchmark(words):
    """What stands behind `--` goes to the trainings that the script starts."""
    end = words.index("--") if "--" in words else len(words)
    long_script("benchmarks/harness.py")(words[:end])
    if words[end:]:
        train_or_evaluate(["--config=lgce_small", "--workdir=runs/any", *words[end + 1 :]])


def every_benchmark(words):
    """The lines of the script that runs them are commands like any other."""
    assert len(words) <= 1
    script = (ROOT / "benchmarks/run_all.sh").read_text().splitlines()
    runs = [line.split()[2:] for line in script if line.startswith("run ")]
    assert len(runs) > 5
    for module, *rest in runs:
        benchmark([f"benchmarks.{module}", *rest])


def weights(words):
    """Real checkpoints of this size are too large to be read here."""
    options = weights_command.make_parser().parse_args(words)
    assert files.load(options.config).model.name in registry.names()


def tfds_command(words):
    action, name, *flags = words
    assert action == "build"
    assert name.removeprefix("refsegrs").lstrip("/") in {*Builder.builder_configs, ""}
    known = {"--imports=tfds_refsegrs", "--manual_dir=/my/folder", "--register_checksums"}
    assert set(flags) <= known


def google_cloud(words):
    """What is to be run there is a command of its own."""
    assert words[:3] == ["compute", "tpus", "tpu-vm"]
    for word in words[3:]:
        if word.startswith("--command="):
            for inner in shell_blocks.split(word.partition("=")[2]):
                follow(inner)


def change_folder(words):
    assert len(words) == 1


def follow(words):
    """Applies the rule of a command within a command."""
    name, rest = rule_of(words)
    assert name, f"no rule knows {' '.join(words)}"
    RULES[name](rest)


def run_notebook(words):
    assert words[0] == "execute"
    assert all((ROOT / name).exists() for name in words[1:])


def publish_notebooks(words):
    shutil.copytree(ROOT / "colab", "colab", ignore=shutil.ignore_patterns("runs"))
    runpy.run_path("colab/publish.py")["publish"](pathlib.Path("colab"), *words)


def make_environment(words):
    assert words == ["-m", "venv", ".venv"]


def build_reference(words):
    """`.ci/run` builds it; here is only what it is built from and to."""
    assert words == ["-W", "-n", "-c", "docs", ".", "docs/_build"]
    assert (ROOT / "docs/conf.py").exists()
    assert "/docs/_build/" in (ROOT / ".gitignore").read_text()


def ruff(words):
    assert words[0] in ("check", "format")
    assert words[1:] == ["."]


def check_types(words):
    assert words == []
    assert "[tool.pyright]" in (ROOT / "pyproject.toml").read_text()


def in_process(entry, leaves, make_parser=None):
    """Returns a rule that runs a command in the folder of stand-ins and looks for its results."""

    def rule(words):
        if any(word.startswith("hf://") or word in ("--push", "--weights") for word in words):
            make_parser().parse_args(words)  # the hub and large files are not here
            return
        clear(words)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sys, "argv", ["command", *words])
            entry()
        assert list(pathlib.Path().glob(leaves))

    return rule


def clear(words):
    """Removes the results of the command before, which commands do not overwrite."""
    if "--output" in words:
        output = pathlib.Path(words[words.index("--output") + 1])
        if output.is_dir():
            shutil.rmtree(output)


def make_prompts(words):
    """`tests/models/dicor_stages_test.py` makes some."""
    prompts.make_parser().parse_args(words)


RULES = {
    "pip": pip_install,
    "python main.py": train_or_evaluate,
    "rrsis-train": train_or_evaluate,
    "python -m pytest": run_tests,
    "rrsis-predict": in_process(predict.run, "out/01_*_mask.tif", predict.make_parser),
    "rrsis-export": in_process(export.run, "bundle/metadata.json", export.make_parser),
    "rrsis-report": in_process(report.run, "runs/quickstart/report_test.html"),
    "rrsis-compare": in_process(compare.run, "comparison.html"),
    "rrsis-weights": weights,
    "rrsis-prompts": make_prompts,
    "rrsis-dataset": in_process(dataset.run, "audit/audit.md"),
    "tfds": tfds_command,
    "python -m benchmarks": benchmark,
    "python -m tests.stress": long_script(),
    "benchmarks/run_all.sh": every_benchmark,
    "python3": make_environment,
    "srun": follow,
    "gcloud": google_cloud,
    "cd": change_folder,
    "jupyter": run_notebook,
    "python colab/publish.py": publish_notebooks,
    "ruff": ruff,
    "pyright": check_types,
    "sphinx-build": build_reference,
}


def rule_of(words):
    """Returns the rule of a command and the words that are left for it; the longest name wins."""
    words = [words[0].removeprefix(".venv/bin/"), *words[1:]]
    if words[:2] == ["python", "-m"] and "." in words[2]:
        words[2:3] = [words[2].rpartition(".")[0], words[2]]
    for count in (3, 2, 1):
        name = " ".join(words[:count])
        if name in RULES:
            return name, words[count:]
    return None, words


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_does_what_it_is_shown_for(command, stand_ins, monkeypatch):
    name, words = rule_of(command.words)
    assert name, f"no rule knows {command}; add one to RULES in {pathlib.Path(__file__).name}"
    monkeypatch.chdir(stand_ins)
    RULES[name]([PLACES.get(word, word) for word in words])


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.file}:{block.line}")
def test_a_block_says_its_language_and_text_holds_no_command(block):
    assert block.language in shell_blocks.LANGUAGES
    if block.language == "text":
        first_words = {line.split()[0] for line in block.body.splitlines() if line.strip()}
        assert first_words & {name.split()[0] for name in RULES} == set()


@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if block.language == "python"],
    ids=lambda block: f"{block.file}:{block.line}",
)
def test_python_names_what_there_is(block):
    for node in ast.walk(ast.parse(block.body)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name) or importlib.import_module(
                    f"{node.module}.{alias.name}"
                )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_keys_files_and_links_exist(path):
    text = path.read_text(encoding="utf-8")
    config = files.load("default")
    for key in re.findall(r"--config\.([\w.]+\w)", text):
        node = config
        for part in key.split("."):
            node = node[part]  # raises with near names
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (path.parent / link).exists(), link
    for name in re.findall(r"`((?:configs|tests|docs|rrsis_jax|tfds_\w+)/[\w./]+)`", text):
        assert (ROOT / name).exists() or name.startswith("docs/_build/"), name


def test_a_command_without_a_rule_is_found():
    assert rule_of(("rm", "-rf", "/")) == (None, ["rm", "-rf", "/"])
    assert rule_of(("python", "-m", "rrsis_jax.absent"))[0] is None
    assert rule_of(("python", "-m", "benchmarks.memory", "--size"))[1] == [
        "benchmarks.memory",
        "--size",
    ]


def test_commands_are_split_as_the_shell_does():
    body = 'A=1 one "two three" \\\n  --four && five # six\nseven "eight\nnine"\n'
    block = shell_blocks.Block("x.md", 3, "bash", body)
    assert [(c.line, c.words) for c in shell_blocks.commands(block)] == [
        (3, ("one", "two three", "--four")),
        (3, ("five",)),
        (5, ("seven", "eight\nnine")),
    ]


# -- Stand-ins: what the commands find in the folder they are run in.

PLACES = {
    "/path/to/folder": "folder",
    "/my/folder": "folder",
    "/data/RRSIS-D": "rrsisd",
    "/data/RISBench_dataset": "risbench",
}


@pytest.fixture(scope="module")
def stand_ins(scene_folder, tmp_path_factory):
    """A folder with evaluated runs without a network, a folder of one's own, a scene, a bundle."""
    root = tmp_path_factory.mktemp("documentation")
    (root / "runs").mkdir()
    (root / "folder").symlink_to(scene_folder)
    for shift, name in enumerate(("quickstart", "lavt", "lgce")):
        write_run(root / "runs" / name, scene_folder, root / "tfds", shift, "test")
    for name in ("rrsisd", "risbench"):
        made_trees.BUILDERS[name](root / name)
    write_scene(root / "scene.tif")
    model = stand_in_model(wordpiece.train(("tree", "building along the road"), 256, 8), traces=[])
    bundle.save(model, root / "bundle")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trained_model, "from_workdir", lambda folder: model)
        for name in ("rrsisd", "risbench"):
            patched.setattr(packages.builder_class(name), "COUNTS", made_trees.COUNTS[name])
        patched.setattr(
            model_checks, "check_run", lambda folder: None
        )  # the runs hold no checkpoint
        yield root


def setup_arguments():
    """Returns what setup.py gives to setuptools."""
    given = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(setuptools, "setup", lambda **arguments: given.update(arguments))
        runpy.run_path(str(ROOT / "setup.py"))
    return given
