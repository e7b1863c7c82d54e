import pytest

from tfds_referring import phrase_forms, target_sizes
from tfds_refsegrs import category_of


@pytest.mark.parametrize(
    ("phrase", "form"),
    [
        ("road", "class"),
        ("Vehicles", "class"),
        ("road marking", "class"),
        ("impervious surface", "class"),
        ("bare land", "class"),
        ("the Vehicles", "class"),
        ("light-duty vehicle", "attribute"),
        ("long truck", "attribute"),
        ("large road marking", "attribute"),
        ("vehicle driving on the road", "relation"),
        ("sidewalk along with tree", "relation"),
        ("low vegetation surrounded by building", "relation"),
    ],
)
def test_form_of(phrase, form):
    assert phrase_forms.form_of(phrase, category_of(phrase)) == form


def test_the_form_of_a_phrase_about_another_datasets_class():
    assert phrase_forms.form_of("A tennis court", "tennis court") == "class"
    assert phrase_forms.form_of("A blue tennis court", "tennis court") == "attribute"
    assert phrase_forms.form_of("A blue tennis court", "other") == "class"


@pytest.mark.parametrize(
    ("share", "size"),
    [
        (0.0, "empty"),
        (1e-6, "under 0.5 %"),
        (0.005, "0.5 to 2 %"),
        (0.0199, "0.5 to 2 %"),
        (0.02, "2 to 10 %"),
        (0.1, "10 % and more"),
        (1.0, "10 % and more"),
    ],
)
def test_size_of(share, size):
    assert target_sizes.size_of(share) == size
