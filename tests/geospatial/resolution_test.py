"""What is said about the sizes of pixels before a training and a prediction."""

import logging

import pytest

from rrsis_jax.geospatial import resolution
from rrsis_jax.training import train


def test_the_line_of_a_prediction_names_all_sides():
    sides = resolution.compare(0.5, 0.1389999999, 0.139)
    assert sides == {"scene": 0.5, "read": 0.139, "training": 0.139, "ratio": 1.0}
    assert resolution.describe(sides) == (
        "Metres a pixel: 0.5 in the scene, 0.139 as the model reads it, 0.139 in its training; "
        "ratio of the latter two 1."
    )
    assert resolution.notes(sides, 0.139) == []


def test_a_scene_without_georeference_cannot_be_compared():
    (note,) = resolution.notes(resolution.compare(None, None, 0.139), 0.139)
    assert "trained on pixels of 0.139 m; whether those of the scene are as large" in note


@pytest.mark.parametrize(
    ("dataset", "gsd", "asked"),
    [
        ("refsegrs/folder", 0.0, True),
        ("refsegrs/official", 0.0, True),
        ("refsegrs/folder", 0.25, False),
        ("refsegrs/synthetic", 0.0, False),
        ("rrsisd", 0.0, False),  # whose images have many
    ],
)
def test_training_on_a_folder_asks_for_the_resolution(tiny_config, caplog, dataset, gsd, asked):
    data = tiny_config.data
    data.dataset, data.ground_sampling_distance, data.image_size = dataset, gsd, 512
    with caplog.at_level(logging.WARNING, logger="absl"):
        train.warn_of_unknown_resolution(data)
    assert bool(caplog.records) == asked
    if asked:
        assert "data.ground_sampling_distance is 0: how many metres of ground" in caplog.text
        assert "--config.data.ground_sampling_distance=0.125 where a side shows 64 m" in caplog.text
