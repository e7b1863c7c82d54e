"""Copies that nothing reads any more are seen, and removed only when asked for."""

import pathlib
import shutil

import pytest
import tensorflow_datasets as tfds

from tests.tfds_referring import made_trees
from tfds_referring import __main__, copies

DUMMY = pathlib.Path(__file__).parents[2] / "tfds_refsegrs/dummy_data"


def prepare(folder, data_dir):
    builder = tfds.builder(
        "refsegrs/folder",
        path=folder,
        data_dir=data_dir / "array_record",
        file_format="array_record",
    )
    builder.download_and_prepare()
    return f"array_record/refsegrs/{builder.builder_config.name}/1.1.0"


@pytest.fixture
def prepared(tmp_path):
    """Two folders of which one was changed and prepared anew: (data_dir, names of the copies)."""
    shutil.copytree(DUMMY, tmp_path / "first")
    shutil.copytree(DUMMY, tmp_path / "second")
    with (tmp_path / "second/output_phrase_val.txt").open("a") as file:
        file.write("4 building\n")
    data_dir = tmp_path / "tfds"
    names = {"changed": prepare(tmp_path / "first", data_dir)}
    (tmp_path / "first/images/unused.png").touch()
    names |= {
        "current": prepare(tmp_path / "first", data_dir),
        "other": prepare(tmp_path / "second", data_dir),
    }
    return data_dir, names


def states(data_dir):
    return {copy.name: copy.state for copy in copies.find(data_dir)}


def test_a_copy_is_old_when_its_folder_changed(prepared, tmp_path):
    data_dir, names = prepared
    assert states(data_dir) == {
        names["changed"]: "old",
        names["current"]: "current",
        names["other"]: "current",
    }
    (copy,) = [copy for copy in copies.find(data_dir) if copy.name == names["changed"]]
    assert copy.source == str(tmp_path / "first")
    assert copy.size == sum(file.stat().st_size for file in copy.path.iterdir())


def test_copies_of_every_dataset_are_seen(make_builder, tmp_path):
    tree = made_trees.risbench(tmp_path / "tree")
    builder = make_builder("risbench", path=tree)
    builder.download_and_prepare()
    name = f"risbench/{builder.builder_config.name}/1.0.0"
    (copy,) = copies.find(tmp_path / "tfds")
    assert (copy.name, copy.state, copy.source) == (name, "current", str(tree))
    (tree / "output_phrase_val.txt").write_text("train_14700_0.png the other car\n")
    assert states(tmp_path / "tfds") == {name: "old"}
    assert copies.find(tmp_path / "tfds", ["refsegrs"]) == []


def test_copies_of_other_versions_without_a_folder_and_unfinished_ones(prepared, tmp_path):
    data_dir, names = prepared
    shutil.rmtree(tmp_path / "second")
    whole = data_dir / names["current"]
    shutil.copytree(whole, whole.with_name("1.0.0"))
    (whole.with_name("incomplete.ABCDEF_1.1.0")).mkdir()
    base = names["current"].removesuffix("1.1.0")
    found = states(data_dir)
    assert found[names["other"]] == "folder gone"
    assert found[f"{base}1.0.0"] == "old"
    assert found[f"{base}incomplete.ABCDEF_1.1.0"] == "unfinished"


def test_the_command_lists_and_removes(prepared, capsys):
    data_dir, names = prepared
    command = ["copies", "--data_dir", str(data_dir)]
    __main__.main(command)
    listed = capsys.readouterr().out
    (old,) = [copy for copy in copies.find(data_dir) if copy.name == names["changed"]]
    size = f"{old.size / 1e6:.1f} MB"
    assert f"| {old.name} | old | {size} | " in listed
    assert "old: made of a folder that has changed since" in listed
    assert f"`rrsis-dataset copies --remove_old` frees {size}." in listed
    with pytest.raises(ValueError, match=r"holds no copy 'x'; it holds: .*Nothing was removed\."):
        __main__.main([*command, "--remove", "x", "--remove_old"])
    assert len(states(data_dir)) == 3
    __main__.main([*command, "--remove_old"])
    assert f"Removed 1, {size}: {old.name}" in capsys.readouterr().out
    assert set(states(data_dir)) == {names["current"], names["other"]}
    assert not (data_dir / names["changed"]).parent.exists()
    __main__.main([*command, "--remove", names["other"], "--remove", names["current"]])
    __main__.main(command)
    assert f"{data_dir} holds no prepared copy of a dataset." in capsys.readouterr().out
