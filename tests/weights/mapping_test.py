import jax
import numpy as np
import pytest

from rrsis_jax.weights import mapping

RULES = [
    *mapping.linear("layers.{i}.fc", "params/layers_{i}/fc"),
    *mapping.norm("norm", "params/norm"),
]
SKIPS = [mapping.Skip(r"head\..*", "no head here")]


def spec(*shape):
    return jax.ShapeDtypeStruct(shape, np.float32)


EXPECTED = {
    "params/layers_0/fc/kernel": spec(3, 2),
    "params/layers_0/fc/bias": spec(2),
    "params/norm/scale": spec(2),
    "params/norm/bias": spec(2),
}


def state_dict():
    return {
        "layers.0.fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "layers.0.fc.bias": np.float32([1, 2]),
        "norm.weight": np.float32([3, 4]),
        "norm.bias": np.float32([5, 6]),
    }


def test_there_and_back_is_equal():
    flat, report = mapping.import_weights(state_dict(), RULES, SKIPS, EXPECTED)
    np.testing.assert_array_equal(
        flat["params/layers_0/fc/kernel"], np.float32([[0, 3], [1, 4], [2, 5]])
    )
    back = mapping.export_weights(flat, RULES, EXPECTED)
    assert back.keys() == state_dict().keys()
    for name, value in state_dict().items():
        np.testing.assert_array_equal(back[name], value)
    assert mapping.Row("norm.bias", "params/norm/bias") in report.rows


def test_nothing_is_shared_with_the_source():
    source = state_dict()
    flat, _ = mapping.import_weights(source, RULES, SKIPS, EXPECTED)
    source["norm.bias"][:] = 0
    np.testing.assert_array_equal(flat["params/norm/bias"], [5, 6])


def test_one_error_lists_all_differences_with_nearest_names():
    source = state_dict()
    source["norm.wieght"] = source.pop("norm.weight")
    source["layers.7.fc.bias"] = np.float32([0])
    source["layers.0.fc.weight"] = np.zeros((3, 2), np.float32)
    source["norm.bias"] = np.int32([1, 2])
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        mapping.import_weights(source, RULES, SKIPS, EXPECTED)
    message = str(caught.value)
    assert "unknown, 2" in message
    assert "norm.wieght (nearest: norm.weight)" in message
    assert "layers.7.fc.bias" in message
    assert "missing, 1" in message
    assert "norm.weight (nearest: norm.wieght)" in message
    assert "misshapen, 2" in message
    assert "layers.0.fc.weight: came (3, 2), expected (2, 3)" in message
    assert "norm.bias: came as int32, expected a floating type" in message


def test_export_refuses_what_does_not_fit():
    flat, _ = mapping.import_weights(state_dict(), RULES, SKIPS, EXPECTED)
    flat["params/norm/scael"] = flat.pop("params/norm/scale")
    with pytest.raises(ValueError, match=r"params/norm/scael \(nearest: params/norm/scale\)"):
        mapping.export_weights(flat, RULES, EXPECTED)


def test_other_float_types_are_converted_and_noted():
    source = state_dict()
    source["norm.bias"] = np.float16([5, 6])
    flat, report = mapping.import_weights(source, RULES, SKIPS, EXPECTED)
    assert flat["params/norm/bias"].dtype == np.float32
    assert mapping.Row("norm.bias", "params/norm/bias", "float16 to float32") in report.rows


def test_skipped_names_are_reported_with_their_reason():
    source = {**state_dict(), "head.weight": np.zeros(3, np.float32)}
    _, report = mapping.import_weights(source, RULES, SKIPS, EXPECTED)
    assert mapping.Row("head.weight", "-", "skipped: no head here") in report.rows
    assert "skipped: no head here" in str(report)


def test_a_name_with_and_without_prefix_is_refused():
    with pytest.raises(ValueError, match=r"with and without the prefix 'module\.'"):
        mapping.strip_prefix({"a": np.zeros(1), "module.a": np.zeros(1)}, "module.")


@pytest.mark.parametrize(
    ("transform", "shape"),
    [
        (mapping.IDENTITY, (2,)),
        (mapping.LINEAR, (2, 3)),
        (mapping.POINTWISE, (2, 3, 1)),
        (mapping.CONV, (2, 3, 4, 5)),
    ],
)
def test_transforms_have_exact_inverses(transform, shape):
    value = np.random.default_rng(0).standard_normal(shape)
    np.testing.assert_array_equal(transform.to_theirs(transform.to_ours(value)), value)
