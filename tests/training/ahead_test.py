"""A step that is compiled from shapes alone is the one that is called."""

import jax
import numpy as np
import pytest

from rrsis_jax.configs import default
from rrsis_jax.data import run_data
from rrsis_jax.distributed import parallel
from rrsis_jax.models import registry
from rrsis_jax.training import ahead, optim, train, train_step

_COMPILED = "/jax/core/compile/backend_compile_duration"


@pytest.fixture
def compilations():
    """The programs that were compiled, or read back, while the test runs."""
    counted = []

    def listen(event, duration, **_):
        if event == _COMPILED:
            counted.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield counted
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("backend", ["pmap", "shard_map"])
def test_the_first_call_finds_its_program(
    scene_folder, tiny_config, tmp_path, compilations, backend
):
    config = tiny_config
    config.data.dataset, config.data.folder = "refsegrs/folder", str(scene_folder)
    config.data.data_dir = str(tmp_path)
    config.distributed.backend = backend
    model = registry.build(config)
    data = run_data.open_data(config, tmp_path, model)
    optimizer = optim.build_optimizer(config.optim, optim.build_schedule(config.optim, 8), model)
    expected = ahead.shapes(
        train.state_shapes(config, model, optimizer), model, config.train.batch_size
    )
    step = ahead.CompiledAhead(train_step.make_train_fn(config, model, optimizer), *expected)
    state = parallel.replicate(train.make_state(config, model, optimizer))
    batch = next(parallel.device_batches(data.train_batches(0)))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), (state, batch)) == jax.tree.map(
        lambda x: (x.shape, x.dtype), expected
    )
    step.wait()
    compilations.clear()
    state, scalars = step(state, batch)
    assert compilations == []
    assert np.all(scalars["finite"])


def test_what_cannot_be_compiled_is_told_by_the_call():
    def refused(x):
        raise ValueError("no such shape")

    step = ahead.CompiledAhead(parallel.mapped(refused), ahead.on_devices(np.float32(0)))
    with pytest.raises(ValueError, match="no such shape"):
        step(parallel.replicate(np.float32(0)))


def test_weights_of_others_are_read_before_anything_is_compiled(monkeypatch):
    config = default.get_config("lgce").unlock()
    model = registry.build(config)
    assert model.parts()  # BERT, by its name
    assert not ahead.is_safe(config, model, None, total=8)
    assert ahead.is_safe(config, model, 4, total=8)
    assert not ahead.is_safe(config, model, 8, total=8)
    config.model.text.pretrained = ""
    assert ahead.is_safe(config, registry.build(config), None, total=8)
    config.init_from = ("somewhere",)
    assert not ahead.is_safe(config, registry.build(config), None, total=8)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert not ahead.is_safe(config, model, 4, total=8)
