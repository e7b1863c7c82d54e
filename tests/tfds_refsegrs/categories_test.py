import pytest

from tfds_refsegrs import categories


@pytest.mark.parametrize("name", categories.CLASSES)
def test_a_class_is_its_own_category(name):
    assert categories.category_of(name) == name


@pytest.mark.parametrize(
    ("phrase", "category"),
    [
        ("vehicle driving on the road", "vehicle"),
        ("light-duty vehicle", "vehicle"),
        ("long truck", "truck"),
        ("building along the road", "building"),
        ("trailer in the parking area", "trailer"),
        ("sidewalk along with tree", "sidewalk"),
        ("low vegetation surrounded by building", "low vegetation"),
        ("white Road-Markings on the road", "road marking"),
        ("Impervious surfaces", "impervious surface"),
        ("two yellow buses", "bus"),
        ("red parked car", "car"),
        ("parked cars", "car"),
        ("vehicle parked near the building", "vehicle"),
        ("vehicle driving", "vehicle"),
        ("bare land", "other"),
        ("bare land along the road", "other"),
        ("bus stop", "other"),
        ("parking", "other"),
        ("on the road", "other"),
        ("", "other"),
    ],
)
def test_head_noun_decides(phrase, category):
    assert categories.category_of(phrase) == category


@pytest.mark.parametrize(
    ("phrase", "head"),
    [
        ("light-duty vehicles parked along the road", "vehicle"),
        ("The large ships moored at the pier.", "ship"),
        ("old oil tank near the harbour", "tank"),
        ("on the left", "on the left"),
        ("建筑物", "建筑物"),
        ("parking", "parking"),
    ],
)
def test_the_head_of_any_words(phrase, head):
    assert categories.head_of(phrase) == head


def test_fourteen_classes_and_other():
    assert len(categories.CLASSES) == 14
    assert (*categories.CLASSES, "other") == categories.CATEGORIES
