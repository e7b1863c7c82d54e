"""The notebooks of colab/ as they are stored; `.ci/run` executes them."""

import ast
import importlib
import json
import pathlib
import re

import pytest

FOLDER = pathlib.Path(__file__).parents[1] / "colab"
NAMES = ("dataset", "predict_scene", "quickstart", "train_tpu")
BADGE = "https://colab.research.google.com/github/{}/blob/main/colab/{}.ipynb"
LONGEST_FUNCTION = 5  # lines


def load(name):
    return json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))


def sources(name, kind):
    return ["".join(c["source"]) for c in load(name)["cells"] if c["cell_type"] == kind]


def parsed(source):
    """Parses a code cell; lines of magic become `pass`."""
    return ast.parse(re.sub(r"^(\s*)%.*$", r"\1pass", source, flags=re.MULTILINE))


def repository(name):
    return re.search(r'^REPOSITORY = "(.+)"$', sources(name, "code")[0], re.MULTILINE)[1]


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

    def test_opens_in_colab_from_the_repository_that_it_installs(self, name):
        assert BADGE.format(repository(name), name) in sources(name, "markdown")[0]
        assert "".join(sources(name, "code")).count(repository(name)) == 1
        assert repository(name) == repository(NAMES[0])

    def test_is_in_the_table_of_the_folder(self, name):
        readme = (FOLDER / "README.md").read_text(encoding="utf-8")
        assert BADGE.format(repository(name), name) in readme

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
