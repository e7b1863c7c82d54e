"""What settings may be: one set of rules for the command line and Python."""

import numpy as np
import pytest

from rrsis_jax.cli import predict
from rrsis_jax.prediction import limits, scene_job

NUMBERS = {
    "threshold": ("--threshold", ("50", "nan", "-1", "1", "high")),
    "overlap": ("--overlap", ("1", "nan", "-0.1")),
    "least_area": ("--min-area", ("nan", "-5", "inf", "small")),
    "gsd": ("--gsd", ("nan", "-1", "0", "inf", "fine")),
    "nodata": ("--nodata", ("nan", "none")),
    "batch_size": ("--batch-size", ("0", "-4", "1.5")),
    "bands": ("--bands", ("red", "1,2", "0,1,2", "1,2,3,4")),
    "stretch": ("--stretch", ("90,10", "2", "0,101", "nan,98")),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_the_command_tells_a_wrong_setting_in_the_words_of_its_rule(name, capsys):
    flag, wrong = NUMBERS[name]
    line = ["--workdir", "run", "--image", "a.tif", "--expression", "tree", "--output", "out"]
    for value in wrong:
        with pytest.raises(SystemExit):
            predict.make_parser().parse_args([*line, flag, value])
        said = capsys.readouterr().err
        wanted = f"it must be {limits.RULES[name].words}"
        assert f"argument {flag}: it is {value!r}; {wanted}" in said
        assert "invalid" not in said


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("threshold", (50, float("nan"), -1, 1, "0.5", None, True)),
        ("overlap", (0.95, float("nan"))),
        ("least_area", (float("nan"), -5)),
        ("gsd", (0.0, "fine", float("inf"))),
        ("nodata", (float("nan"), "0")),
        ("bands", ((1, 2), (0, 1, 2), 3, (1, 2, 2.5))),
        ("stretch", ((90, 10), (2,), "2,98")),
    ],
)
def test_python_tells_it_too(name, wrong):
    for value in wrong:
        with pytest.raises(ValueError, match=f"{name} is .*; it must be"):
            limits.check(name, value)
        if value is not None:
            with pytest.raises(ValueError, match=f"{name} is .*; it must be"):
                scene_job.Settings(**{name: value})


def test_numbers_of_any_library_fit():
    scene_job.Settings(
        threshold=np.float32(0.25), gsd=np.float64(0.5), bands=[np.int64(1), 2, 3], nodata=-9999
    )
    limits.check("overlap", 0)


def test_the_predictor_checks_its_own(stand_in, image):
    for wrong in ({"threshold": 50}, {"threshold": float("nan")}, {"overlap": -1.0}):
        (name,) = wrong
        with pytest.raises(ValueError, match=f"{name} is .*; it must be"):
            stand_in.predict(image, ["tree"], **wrong)
    assert stand_in.traces == []
