"""Numbers, paths and curves in few characters."""

import pathlib

import pytest

from rrsis_jax.terminal import words


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (754, "12:34"), (11045, "3:04:05")]
)
def test_durations(seconds, text):
    assert words.duration(seconds) == text


def test_counts_rates_and_paths(monkeypatch, tmp_path):
    assert [words.count(n) for n in (12, 1535, 1.53e6, 2.2e9)] == [
        "12",
        "1.53 k",
        "1.53 M",
        "2.2 G",
    ]
    assert [words.rate(n) for n in (3.14159, 42.0, 1234.5)] == ["3.1", "42.0", "1234"]
    monkeypatch.chdir(tmp_path)
    assert words.path(tmp_path / "my run") == "'my run'"
    assert words.path(pathlib.Path("/elsewhere/run")) == "/elsewhere/run"


def test_a_curve_falls_as_its_values_do():
    assert words.sparkline([4, 3, 2, 1], 4) == "█▆▃▁"
    assert words.sparkline([4, 4, 1, 1], 2) == "█▁"
    assert words.sparkline([1.0, 1.0], 8) == "▁▁"
    assert words.sparkline([], 8) == ""
