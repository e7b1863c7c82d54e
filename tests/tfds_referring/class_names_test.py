import importlib

import pytest

from tests.tfds_referring.made_trees import BUILDERS, DIOR
from tfds_referring.class_names import ClassNames


def names_of(dataset):
    return importlib.import_module(f"tfds_{dataset}").CLASS_NAMES


def test_every_name_of_rrsisd_is_spelled():
    names = names_of("rrsisd")
    assert tuple(names.spelled(name) for name in DIOR) == names.names
    assert names.spelled("house") is None


@pytest.mark.parametrize("dataset", BUILDERS)
def test_a_class_mentions_itself(dataset):
    names = names_of(dataset)
    assert len({*names.labels}) == len(names.names) + 1
    for words, name in {
        **dict(zip(names.names, names.names, strict=True)),
        **names.aliases,
    }.items():
        plural = f"{words}es" if words.endswith("s") else f"{words}s"
        assert names.mentioned(f"The {words.upper()} near the gate") == name
        assert names.mentioned(f"two white {plural}") == name


@pytest.mark.parametrize(
    ("phrase", "name"),
    [
        ("The lower plane near a ship", "airplane"),
        ("The soccer ball field inside the ground track field", "soccer ball field"),
        ("two buses on the bridge", "vehicle"),
        ("a baseball-field", "baseball diamond"),
        ("A toll station on the left", "expressway toll station"),
        ("the cargo of the house", "other"),
        (".", "other"),
    ],
)
def test_what_risbenchs_phrases_mention(phrase, name):
    assert names_of("risbench").mentioned(phrase) == name


def test_an_alias_of_nothing_is_refused():
    with pytest.raises(ValueError, match="aliases mean boat, which is no class"):
        ClassNames(("ship",), {"vessel": "boat"})
