"""Faults while a file is written name the file that was asked for."""

import pytest

from rrsis_jax import io


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory") as error:
        io.write_text(tmp_path / "file" / "summary.json", "text")
    assert error.value.filename == str(tmp_path / "file" / "summary.json")
    with (
        pytest.raises(OSError, match="Not a directory") as error,
        io.replacing_folder(tmp_path / "file" / "bundle"),
    ):
        pass
    assert error.value.filename == str(tmp_path / "file" / "bundle")


def test_a_file_inside_a_new_folder(tmp_path):
    with (
        pytest.raises(OSError, match="No such file") as error,
        io.replacing_folder(tmp_path / "bundle") as new,
    ):
        (new / "absent" / "file").write_text("")
    assert error.value.filename == str(tmp_path / "bundle" / "absent" / "file")


def test_other_files_keep_their_names(tmp_path):
    with (
        pytest.raises(OSError, match="No such file") as error,
        io.replacing(tmp_path / "summary.json"),
    ):
        (tmp_path / ".hidden").read_text()
    assert error.value.filename == str(tmp_path / ".hidden")
