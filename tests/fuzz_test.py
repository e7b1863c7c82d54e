"""A few hostile and damaged files through every door; `tests/stress/fuzz.py` sends thousands."""

import pytest

from rrsis_jax.configs import default
from rrsis_jax.configuration import schema
from tests.stress import fuzz, fuzz_case, fuzz_cases

# Cases of a door: as many as take about a second.
COUNTS = dict.fromkeys(fuzz_cases.DOORS, 30)
COUNTS |= {"checkpoints": 6, "prepared": 8, "bundles": 12, "config": 12, "workdirs": 20}

# rasterio multiplies affine transforms by `*`, which affine ≥ 3 announces to deprecate; what
# libraries say about files that are damaged on purpose is not of interest.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("name", fuzz_cases.DOORS)
def test_every_case_ends_in_a_clear_error_or_a_correct_result(name, tmp_path, monkeypatch):
    door, arena = fuzz_cases.DOORS[name], tmp_path / "arena"
    (arena / "material").mkdir(parents=True)
    material = door.prepare(arena / "material")
    monkeypatch.chdir(arena)
    outcomes = [
        fuzz_case.attempt(door, material, 7, number, arena) for number in range(COUNTS[name])
    ]
    assert [outcome for outcome in outcomes if outcome.kind == "failure"] == []
    kinds = {outcome.kind for outcome in outcomes}
    assert "correct" in kinds
    assert "refused" in kinds or name == "checkpoints"  # of which another one is whole


def case(call, check=None):
    return fuzz_case.Door("made up", lambda folder: None, lambda *_: make(call, check))


def make(call, check):
    return fuzz_case.Case("made up", call, ("file.txt",), check)


def raise_error(error):
    raise error


@pytest.mark.parametrize(
    ("call", "check", "detail"),
    [
        (lambda: raise_error(IndexError("3")), None, "builtins.IndexError: 3"),
        (lambda: raise_error(ValueError("a bad thing")), None, "names none of ('file.txt',)"),
        (lambda: "read", None, "accepted, with 'read'"),
        (lambda: 4, lambda found: fuzz_case.expect(found == 5, "not five"), "not five"),
        (lambda: open("stray", "w").close(), lambda found: None, "wrote outside of its folder"),
        (
            lambda: raise_error(ValueError("file.txt " * 9999)),
            None,
            "a message of 89991 characters",
        ),
    ],
)
def test_the_fuzzer_sees_what_is_wrong(call, check, detail, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = fuzz_case.attempt(case(call, check), None, 0, 0, tmp_path)
    assert outcome.kind == "failure"
    assert detail in outcome.detail


def test_the_fuzzer_sees_the_end_and_the_hang_of_a_process(monkeypatch):
    monkeypatch.setattr(fuzz, "_START_SECONDS", 1.0)
    for ending, detail in (("os.abort()", "ended with -6"), ("time.sleep(60)", "hung for 1 s")):
        command = [fuzz.sys.executable, "-Sc", f"import os, time; {ending}"]
        monkeypatch.setattr(fuzz, "worker_command", lambda *_, command=command: command)
        outcomes = []
        assert detail in fuzz.run_process("made up", 0, outcomes, 1)
        assert outcomes == []


def test_every_key_of_the_configuration_has_a_rule():
    config = default.get_config()
    assert schema.flat(config).keys() == schema.rules(config).keys()


def test_all_faults_of_a_configuration_are_listed():
    config = default.get_config().unlock()
    config.train.batch_size = -8
    config.loss.class_weights = (1.0, float("nan"))
    del config.seed
    with pytest.raises(ValueError, match="cannot be used") as error:
        schema.check(config)
    assert str(error.value).splitlines()[1:-1] == [
        "- seed is missing",
        "- train.batch_size is -8; it must be a whole number of at least 1",
        "- loss.class_weights is (1.0, nan); it must be 2 times a number above 0",
    ]
