"""Plain data is read as it was written; everything else is refused, and nothing is run."""

import os
import pickle
import tracemalloc

import numpy as np
import pytest

from tests.tfds_referring.made_trees import ref
from tfds_referring import refer_files, restricted_pickle

REFS = [ref(2934, "train", 4, "The baseball field on the top"), ref(3, "val", 1, "Schöner Hafen")]


def load(tmp_path, content):
    file = tmp_path / "refs(unc).p"
    file.write_bytes(content)
    return restricted_pickle.load(file)


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_reads_equal(tmp_path, protocol):
    data = [*REFS, {"x": (1, 2, 3, 4), "big": 2**70, "half": 0.5, "none": None, "": [True, {}, ()]}]
    assert load(tmp_path, pickle.dumps(data, protocol)) == data


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(3), 3),
        (np.int32(-7), -7),
        (np.uint8(200), 200),
        (np.float32(1.5), 1.5),
        (np.bool_(True), True),
        (np.str_("Tür"), "Tür"),
        (np.array(-5, ">i4")[()], -5),
    ],
)
def test_numpy_scalars_become_plain(tmp_path, protocol, value, plain):
    (read,) = load(tmp_path, pickle.dumps([value], protocol))
    assert (read, type(read)) == (plain, type(plain))


def test_numpy_scalars_under_the_old_name_of_their_module(tmp_path):
    new = pickle.dumps(dict(REFS[0], ref_id=np.int64(3)), 2)
    old = new.replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")
    assert old != new
    assert load(tmp_path, old)["ref_id"] == 3


def test_text_pickle_of_python_2(tmp_path):
    content = b"(lp0\n(dp1\nS'split'\np2\nS'train'\np3\nsS'ref_id'\np4\nI7\nsa."
    assert load(tmp_path, content) == [{"split": "train", "ref_id": 7}]


def test_8_bit_text_of_python_2(tmp_path):
    assert load(tmp_path, b"\x80\x02}U\x03rawU\x05caf\xc3\xa9s.") == {"raw": "café"}
    with pytest.raises(restricted_pickle.PickleError, match=r"refs\(unc\)\.p is a damaged pickle"):
        load(tmp_path, b"\x80\x02}U\x03rawU\x04caf\xe9s.")


class Attack:
    """Runs a command when a plain unpickler reads it."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_command_is_refused_and_not_run(tmp_path, protocol):
    content = pickle.dumps([Attack(tmp_path / "marker")], protocol)
    with pytest.raises(restricted_pickle.PickleError, match=r"refs\(unc\)\.p asks for \w+\.system"):
        load(tmp_path, content)
    assert not (tmp_path / "marker").exists()
    pickle.loads(content)  # the attack works where nobody looks
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "asks for builtins.eval, but plain data needs no import"),
        (b"(S'ls'\nios\nsystem\n.", r"holds more than plain data \(instruction b'i'\)"),
        (b"(cos\nsystem\nS'ls'\no.", "asks for os.system"),
        (b"\x80\x02U\x01aQ.", r"instruction b'Q'"),
        (b"Pa\n.", r"instruction b'P'"),
        (b"\x80\x02\x82\x99.", r"instruction b'\\x82'"),
        (b"\x80\x02cnumpy\ndtype\n)\x81.", r"instruction b'\\x81'"),
        (b"\x80\x05\x96\xff\xff\xff\xff\x0f\x00\x00\x00.", r"instruction b'\\x96'"),
        (b"\x80\x02\x8f.", r"instruction b'\\x8f'"),
        # A name of ours is no handle on this program.
        (b"cnumpy\ndtype\n}S'__defaults__'\n)sb.", "sets the state of something that has none"),
        (b"cnumpy\ndtype\n(S'O8'\ntR.", "numpy data of the type 'O8'"),
        (b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR.", "bytes in an unknown form"),
        (b"(lp0\n)R.", "calls something that is no function"),
        (pickle.dumps(REFS)[:-9], "is a damaged pickle .* get the file again"),
        (b"", "is a damaged pickle"),
        (b"\x80\x04\xff.", "holds more than plain data"),
    ],
)
def test_what_is_no_plain_data_is_refused(tmp_path, content, words):
    with pytest.raises(restricted_pickle.PickleError, match=words) as caught:
        load(tmp_path, content)
    assert str(caught.value).startswith("refs(unc).p ")


def test_the_memory_cannot_be_blown_up(tmp_path):
    """The machine in C would allocate 2 GB for place 2^28 of its memory."""
    tracemalloc.start()
    assert load(tmp_path, b"\x80\x02Nr\xff\xff\xff\x0f.") is None
    with pytest.raises(restricted_pickle.PickleError):
        load(tmp_path, b"\x80\x02X\xff\xff\xff\x7fabc.")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize(
    ("refs", "words"),
    [
        ({"a": 1}, "holds a dict; expected a list of refs"),
        ([3], "ref 1 is a int; expected a dict"),
        ([{k: v for k, v in REFS[0].items() if k != "sentences"}], "ref 2934 has no list `sent"),
        ([{**REFS[0], "sentences": [{"sent_id": 1}]}], "without the text `raw` or `sent`"),
        ([{**REFS[0], "split": "a/b"}], "has the split 'a/b'; expected train, val or test"),
        ([{**REFS[0], "ann_id": 1.5}], "has the ann_id 1.5; expected a number or text"),
        ([REFS[0], REFS[0]], "ref 2934 occurs twice"),
    ],
)
def test_plain_data_that_are_no_refs(tmp_path, refs, words):
    file = tmp_path / "refs.p"
    file.write_bytes(pickle.dumps(refs))
    problems = []
    refer_files.read_refs(file, problems)
    (problem,) = problems
    assert problem.startswith("refs.p")
    assert words in problem


def test_a_message_about_nested_data_stays_short(tmp_path):
    nested = "x"
    for _ in range(60):  # 2^60 characters if written out
        nested = [nested, nested]
    file = tmp_path / "refs.p"
    file.write_bytes(pickle.dumps([{**REFS[0], "ref_id": nested}]))
    problems = []
    assert refer_files.read_refs(file, problems) == []
    assert len(problems[0]) < 2000
