"""Batch sizes that the devices can share, and sharding."""

import jax
import numpy as np
import pytest

from rrsis_jax.distributed import parallel
from rrsis_jax.weights import checkpoints


def test_a_batch_that_divides_is_accepted():
    parallel.check_batch_size("train.batch_size", 8)
    parallel.check_batch_size("train.batch_size", 8, micro_batches=2)


@pytest.mark.parametrize(
    ("size", "micro_batches", "advice"),
    [(6, 1, "Set it to 4 or 8"), (3, 1, "Set it to 4"), (0, 1, "Set it to 4"), (12, 2, "8 or 16")],
)
def test_a_batch_that_does_not_is_refused_with_the_sizes_that_fit(size, micro_batches, advice):
    with pytest.raises(ValueError, match=advice) as error:
        parallel.check_batch_size("train.batch_size", size, micro_batches)
    assert f"train.batch_size is {size}, which 4 device(s)" in str(error.value)


def test_sharding_keeps_the_order():
    shards = parallel.shard({"x": np.arange(8)})["x"]
    np.testing.assert_array_equal(shards, [[0, 1], [2, 3], [4, 5], [6, 7]])


def test_replicas_come_back_as_numpy():
    tree = parallel.unreplicate(parallel.replicate({"x": np.float32([1.0, 2.0])}))
    assert isinstance(tree["x"], np.ndarray)
    np.testing.assert_array_equal(tree["x"], [1.0, 2.0])


@pytest.mark.parametrize("backend", [parallel.PMAP, parallel.SHARD_MAP])
def test_a_mapped_function_returns_what_it_takes_so_that_it_compiles_once(backend):
    double = parallel.mapped(lambda tree: {"x": 2 * tree["x"]}, backend=backend)
    state = parallel.replicate({"x": np.float32([1.0])})
    batch = next(parallel.device_batches([{"x": np.ones(4, np.float32)}]))
    assert state["x"].sharding == double(state)["x"].sharding == batch["x"].sharding


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_checkpoint_goes_on_on_any_number_of_devices(tmp_path, count):
    devices = jax.local_devices()[:count]
    state = parallel.replicate({"params": {"x": np.arange(4096, dtype=np.float32)}})
    saved = checkpoints.Checkpoints(tmp_path)
    saved.save(1, parallel.unreplicate(state), progress={}, score=None)
    saved.wait()
    restored, _ = saved.restore(1, {"params": {"x": np.zeros(4096, np.float32)}})
    saved.close()
    double = parallel.mapped(lambda tree: jax.tree.map(lambda x: 2 * x, tree), devices=devices)
    after = double(parallel.replicate(restored, devices))
    assert len(after["params"]["x"].sharding.device_set) == count
    np.testing.assert_array_equal(
        parallel.unreplicate(after)["params"]["x"], 2 * np.arange(4096, dtype=np.float32)
    )
