"""What the tests of all manually downloaded datasets share."""

import importlib

import pytest

from tests.tfds_referring import made_trees


@pytest.fixture
def make_builder(tmp_path, monkeypatch):
    """Makes the builder of "<dataset>/<config>", whose official counts are those of made trees."""

    def make(name, **options):
        dataset, _, config = name.partition("/")
        builder = importlib.import_module(f"tfds_{dataset}").Builder
        if builder.COUNTS:
            monkeypatch.setattr(builder, "COUNTS", made_trees.COUNTS[dataset])
        options.setdefault("data_dir", tmp_path / "tfds")
        return builder(config=config or "official", **options)

    return make


@pytest.fixture
def problems_of(make_builder):
    """Returns what is wrong with a tree, as the builder "<dataset>/<config>" tells it."""
    from tfds_refsegrs import LayoutError

    def problems(name, folder, **options):
        with pytest.raises(LayoutError) as caught:
            make_builder(name, path=folder, **options).read(folder)
        assert str(caught.value).startswith(f"{len(caught.value.problems)} problem(s) in {folder}")
        return caught.value.problems

    return problems
