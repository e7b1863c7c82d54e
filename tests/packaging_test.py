"""The source archive holds what the tests need, and the wheel works without the checkout."""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]
DATASETS = sorted(path.parent.name for path in ROOT.glob("tfds_*/*_dataset_builder.py"))
PACKAGED = ("rrsis_jax", "tfds_referring", *DATASETS, "configs")
KEPT = (*PACKAGED, "tests", "docs", "colab", "benchmarks")
LEFT_OUT = shutil.ignore_patterns(
    ".*", "__pycache__", "*.egg-info", "_api", "_build", "build", "dist", "runs", "out"
)

CHECK = """
import pathlib, sys
import tensorflow_datasets as tfds
import rrsis_jax
import tfds_referring
import tfds_refsegrs
from rrsis_jax.configuration import files
from rrsis_jax.reporting import html_page
from tfds_referring import packages

for package in (rrsis_jax, tfds_referring, tfds_refsegrs):
    assert pathlib.Path(package.__file__).is_relative_to(sys.prefix), package.__file__
for name in files.names():
    files.load(name)
assert packages.names() == ["refsegrs", "risbench", "rrsisd", "uavid_ris", "vdd_ris"]
for name in packages.names():
    assert packages.builder_class(name).builder_configs
assert "quickstart" in files.names()
arguments = {"num_scenes": (1, 1, 1), "size": 32}
scenes = tfds.load("refsegrs/synthetic", split="train", data_dir=".", builder_kwargs=arguments)
print(len(scenes), tfds.builder("refsegrs/synthetic", data_dir=".").info.citation[:8])
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Builds the source archive, and the wheel from it: (archive, wheel)."""
    source, target = (tmp_path_factory.mktemp(name) for name in ("source", "dist"))
    shutil.copytree(ROOT, source, ignore=LEFT_OUT, dirs_exist_ok=True)
    (source / ".ci").mkdir()
    for name in (".ci/run", ".gitignore"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target)]
    run(*command, str(source), cwd=target)
    (archive,), (wheel,) = target.glob("*.tar.gz"), target.glob("*.whl")
    return archive, wheel


def run(*command, cwd, **settings):
    """Runs a command with the given environment settings; returns what it printed."""
    environment = {**os.environ, "PYTHONPATH": "", **settings}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files_below(folder):
    ignored = {"__pycache__", "_api", "_build", ".ipynb_checkpoints", "runs"}
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not ignored & set(path.relative_to(ROOT).parts)
    }


def test_the_source_archive_is_whole(built):
    with tarfile.open(built[0]) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    for folder in KEPT:
        assert files_below(folder) - held == set()
    assert {"setup.py", "main.py", "README.md", "LICENSE", "pyproject.toml", ".ci/run"} <= held


def test_the_wheel_holds_the_packages_and_nothing_else(built):
    with zipfile.ZipFile(built[1]) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
        (entry_points,) = (n for n in wheel.namelist() if n.endswith("entry_points.txt"))
        commands = wheel.read(entry_points).decode()
    assert {name.partition("/")[0] for name in held} == {*PACKAGED} - {"configs"}
    wanted = {
        name.replace("configs/", "rrsis_jax/configs/", 1) if name.startswith("configs/") else name
        for folder in PACKAGED
        for name in files_below(folder)
        if "/dummy_data/" not in name  # only tests read it
    }
    assert held == wanted
    for name in ("train", "predict", "export", "report", "compare", "weights", "dataset"):
        assert f"rrsis-{name} = " in commands


def test_the_wheel_works_in_a_fresh_environment(built, tmp_path):
    """The environment sees this one's dependencies, but neither the checkout nor pip's link to it.

    A path in a .pth file is searched for modules, but .pth files in it, such as those of an
    editable installation, are not read.
    """
    fresh = tmp_path / "fresh"
    venv.create(fresh, with_pip=False, symlinks=True)
    site = pathlib.Path(sysconfig.get_path("purelib", vars={"base": str(fresh)}))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = str(fresh / "bin/python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    run(*pip, "--no-index", "--ignore-installed", str(built[1]), cwd=tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    said = run(python, "-c", CHECK, cwd=empty, HOME=str(empty))
    assert said.splitlines()[-1] == "6 @article"
    for name in ("train", "predict", "export", "report", "compare", "weights", "dataset"):
        assert "--" in run(str(fresh / f"bin/rrsis-{name}"), "--help", cwd=empty)
