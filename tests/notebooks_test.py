"""The notebooks of colab/ as they are stored; `.ci/run` executes them."""

import ast
import importlib
import importlib.util
import json
import pathlib
import re
import runpy
import shutil

import pytest

FOLDER = pathlib.Path(__file__).parents[1] / "colab"
NAMES = ("dataset", "predict_scene", "quickstart", "train_tpu")
BADGE = "https://colab.research.google.com/github/{}/blob/main/colab/{}.ipynb"
LONGEST_FUNCTION = 5  # lines


def load(name, folder=FOLDER):
    return json.loads((folder / f"{name}.ipynb").read_text(encoding="utf-8"))


def sources(name, kind, folder=FOLDER):
    return ["".join(c["source"]) for c in load(name, folder)["cells"] if c["cell_type"] == kind]


def parsed(source):
    """Parses a code cell; lines of magic become `pass`."""
    return ast.parse(re.sub(r"^(\s*)%.*$", r"\1pass", source, flags=re.MULTILINE))


def repository(name, folder=FOLDER):
    cell = sources(name, "code", folder)[0]
    return re.search(r'^REPOSITORY = "(.*)"  # "name/rrsis_jax" on Git', cell, re.MULTILINE)[1]


def readme(folder):
    return (folder / "README.md").read_text(encoding="utf-8")


def imported(tree):
    """Returns what a notebook's imports from this repository are, by the name that it uses."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith(("rrsis_jax", "tfds_ref")):
            for alias in node.names:
                try:
                    target = importlib.import_module(f"{node.module}.{alias.name}")
                except ModuleNotFoundError:
                    target = getattr(importlib.import_module(node.module), alias.name)
                found[alias.asname or alias.name] = target
    return found


def test_the_folder_holds_the_notebooks_that_are_tested():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(NAMES)


def test_publishing_sets_every_link_and_can_be_taken_back(tmp_path):
    publish = runpy.run_path(str(FOLDER / "publish.py"))["publish"]
    folder = tmp_path / "colab"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("runs", "__pycache__"))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for place in ("first/rrsis_jax", "second/rrsis_jax"):
        publish(folder, place)
        for name in NAMES:
            assert repository(name, folder) == place
            badge = BADGE.format(place, name)
            assert sources(name, "markdown", folder)[0].count("colab.research.google.com/git") == 1
            assert badge in sources(name, "markdown", folder)[0]
            assert badge in readme(folder)
        assert readme(folder).count("colab.research.google.com/github") == len(NAMES)
    publish(folder, "")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(ValueError, match=r"'nowhere' is no repository on GitHub; one is"):
        publish(folder, "nowhere")


@pytest.mark.parametrize("name", NAMES)
class TestNotebook:
    def test_is_stored_without_traces_of_a_run(self, name):
        notebook = load(name)
        metadata = notebook["metadata"]
        assert metadata.keys() <= {"accelerator", "kernelspec", "language_info"}
        assert metadata["kernelspec"] == {"display_name": "Python 3", "name": "python3"}
        assert metadata["language_info"] == {"name": "python"}
        assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
        for number, cell in enumerate(notebook["cells"]):
            assert (cell["id"], cell["metadata"]) == (str(number), {})
            if cell["cell_type"] == "code":
                assert (cell["outputs"], cell["execution_count"]) == ([], None)

    def test_shows_no_link_to_a_place_that_is_not_there(self, name):
        assert repository(name) == ""
        assert "colab.research.google.com" not in "".join(sources(name, "markdown"))
        assert (
            "".join(sources(name, "code")).count("github.com") == 1
        )  # the one that REPOSITORY ends

    def test_is_in_the_table_of_the_folder(self, name):
        assert f"[`{name}.ipynb`]({name}.ipynb)" in readme(FOLDER)

    @pytest.mark.parametrize(
        ("checkout", "place", "expected"),
        [
            (True, "", "rrsis-jax[geo] @ file://{folder}"),
            (False, "name/rrsis_jax", "rrsis-jax[geo] @ git+https://github.com/name/rrsis_jax"),
            (False, "", "Say in the first cell where the package is"),
        ],
    )
    def test_installs_from_the_checkout_or_from_the_repository(
        self, name, checkout, place, expected, tmp_path, monkeypatch
    ):
        (tmp_path / "colab").mkdir()
        if checkout:
            (tmp_path / "rrsis_jax").mkdir()
        monkeypatch.chdir(tmp_path / "colab")
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        installed = []
        cell = re.sub(
            r'%pip install --quiet "(.+)"', r'installed.append(f"\1")', sources(name, "code")[1]
        )
        values = {"DEVICE": "cpu", "REPOSITORY": place, "pathlib": pathlib, "installed": installed}
        try:
            exec(cell, values)
        except ValueError as error:
            installed.append(str(error))
        assert len(installed) == 1
        assert expected.format(folder=tmp_path) in installed[0]

    def test_installs_before_it_imports_the_package(self, name):
        settings, install, *rest = sources(name, "code")
        ours = [cell for cell in (settings, install) if re.search(r"import rrsis|from rrsis", cell)]
        assert ours == []
        assert "%pip install" in install
        assert "find_spec" in install
        assert not any("pip install" in cell for cell in rest)

    def test_ends_in_assertions(self, name):
        tree = parsed(sources(name, "code")[-1])
        assert sum(isinstance(node, ast.Assert) for node in ast.walk(tree)) >= 4

    def test_has_no_logic_of_its_own(self, name):
        for source in sources(name, "code"):
            for node in ast.walk(parsed(source)):
                assert not isinstance(node, ast.ClassDef)
                if isinstance(node, ast.FunctionDef):
                    assert node.end_lineno - node.lineno < LONGEST_FUNCTION, node.name
                if isinstance(node, ast.Attribute):
                    assert not node.attr.startswith("_"), ast.unparse(node)

    def test_names_only_what_the_package_has(self, name):
        tree = parsed("\n".join(sources(name, "code")))
        modules = imported(tree)
        missing = [
            ast.unparse(node)
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in modules
            and not hasattr(modules[node.value.id], node.attr)
        ]
        assert modules
        assert missing == []

    def test_explains_every_part(self, name):
        kinds = [cell["cell_type"] for cell in load(name)["cells"]]
        assert kinds[0] == "markdown"
        assert not any(kinds[i : i + 3] == ["code"] * 3 for i in range(len(kinds)))
